"""An open-loop client in a process of its own: `sender TIMETABLE REPORT` reads which requests to send from one file,
and writes what became of each into the other.

Requests go out when the timetable says, whatever became of those before. A latency counts from the *planned* time, so
what this process is late by is the caller's wait and nobody's excuse. A request's deadline is that much nearer.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import anyio
import anyio.abc
import msgspec
import numpy as np

from benchmarks.quota.model import COMPACT
from fastgshare.client import RequestRefused, Result, connect
from fastgshare.client.values import Value
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.typed import decode_json
from fastgshare.shared.units import US_PER_S, us_to_s

SETTLE_US = 200_000
SHORTEST_S = 0.001
THINK_S = 0.015
"""Between idle requests: no quota holds back who asks for so little."""
PATIENT_US = 10 * US_PER_S
LOST = (ErrorCode.MODEL_FAILED, ErrorCode.HANDLER_FAILED, ErrorCode.NOT_FOUND, ErrorCode.INVALID)


class Due(msgspec.Struct, frozen=True, array_like=True):
    """A single input to a function, so many microseconds after the start; its caller waits for `patience_us`."""

    at_us: int
    function: str
    patience_us: int


class Timetable(msgspec.Struct, frozen=True):
    """`idle` requests of each function one after the other first, then what is `due`."""

    nats_url: str
    idle: int
    functions: tuple[str, ...]
    due: tuple[Due, ...]
    cores: tuple[int, ...]


class Sent(msgspec.Struct, frozen=True, array_like=True):
    """What became of a request: `answered`, `refused` or `failed`; how late it was sent, and how long it took, both
    from its planned time. Of an answer: its time on the device, how large its batch was, and how long it waited on its
    worker, in the queue and for the token."""

    at_us: int
    function: str
    what: str
    lag_us: int
    latency_us: int
    execute_us: int = 0
    batch: int = 0
    why: str = ""
    waited_us: int = 0

    @property
    def way_us(self) -> int:
        """What an answer took beside waiting on the worker and the device."""
        return self.latency_us - self.waited_us - self.execute_us


class Report(msgspec.Struct, frozen=True):
    """The idle requests, and those of the timetable."""

    idle: list[Sent]
    sent: list[Sent]


class Door(Protocol):
    """What a client is here."""

    async def invoke(self, function: str, inputs: Mapping[str, Value], *, timeout_s: float) -> Result:
        """The answer. Raises RequestRefused."""
        ...


async def send(timetable: Timetable) -> Report:
    """All of it, over one connection."""
    async with connect(timetable.nats_url, name="trace") as client:
        idle = []
        for function in timetable.functions:
            for _ in range(timetable.idle):
                idle.append(await one(client, Due(0, function, PATIENT_US), monotonic_us()))
                await anyio.sleep(THINK_S)
        sent: list[Sent] = []
        start_us = monotonic_us() + SETTLE_US
        async with anyio.create_task_group() as tasks:
            for due in timetable.due:
                await _until(start_us + due.at_us)
                tasks.start_soon(_note, client, due, start_us, sent)
    return Report(idle, sent)


async def _until(due_us: int) -> None:
    left_us = due_us - monotonic_us()
    if left_us > 0:
        await anyio.sleep(us_to_s(left_us))


async def _note(client: Door, due: Due, start_us: int, sent: list[Sent]) -> None:
    sent.append(await one(client, due, start_us + due.at_us))


async def one(client: Door, due: Due, planned_us: int) -> Sent:
    """Send it now, though it was planned for `planned_us`, and await its end."""
    lag_us = monotonic_us() - planned_us
    left_s = max((due.patience_us - lag_us) / US_PER_S, SHORTEST_S)
    try:
        result = await client.invoke(due.function, {"x": np.ones((1, COMPACT), np.float32)}, timeout_s=left_s)
    except RequestRefused as refused:
        what = "failed" if refused.body.code in LOST else "refused"
        took_us = monotonic_us() - planned_us
        return Sent(due.at_us, due.function, what, lag_us, took_us, why=str(refused))
    took_us = monotonic_us() - planned_us
    timing = result.timing
    assert timing is not None, "a worker tells where the time went"
    waited_us = timing.queue_us + timing.token_us
    return Sent(due.at_us, due.function, "answered", lag_us, took_us, timing.execute_us, timing.batch, "", waited_us)


def main(argv: Sequence[str]) -> int:
    """Read, send, write."""
    told, written = map(Path, argv)
    timetable = decode_json(Timetable, told.read_bytes())
    if timetable.cores:
        os.sched_setaffinity(0, timetable.cores)
    report = anyio.run(send, timetable, backend_options={"use_uvloop": True})
    written.write_bytes(msgspec.json.encode(report))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
