"""From no replica to the first answer, on the platform itself: what a caller waits beyond the loading of the model.

Every round lets the function go to zero and calls it once. `load_ms` is what the node says that the replica took to
load; the rest is demand, decision, placement, the way to the worker and back, and the answer. The parts come from the
gateway's `cold_start` event.
"""

import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio
import msgspec

from benchmarks.overhead.identity import INPUT, row, write_model
from fastgshare.cli.up.config import UpConfig
from fastgshare.cli.up.platform import open_platform
from fastgshare.client import Client, FunctionDefinition, ModelSource, connect
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.messages import Autoscale, Event
from fastgshare.shared.units import US_PER_MS

NAME = "cold"
FLOATS = 16
IDLE = ("FASTGSHARE_IDLE_S", "0.5")
"""Sooner to zero than anybody would want it, so that a round takes a second."""
ROUNDS = 8
PATIENCE_S = 60.0
TARGET_MS = 1000.0
PARTS = ("placed_ms", "load_ms", "ready_ms", "answer_ms")


async def cold_start(rounds: int = ROUNDS) -> dict[str, Any]:
    """Medians over `rounds` in milliseconds, the slowest round beyond its load, and every round."""
    os.environ[IDLE[0]] = IDLE[1]
    with tempfile.TemporaryDirectory(prefix="fastgshare-cold-") as home:
        config = UpConfig(data_dir=Path(home) / "data", nats_port=0, http_port=0, device="cpu")
        async with open_platform(config) as platform, connect(platform.endpoints.nats_url) as client:
            model = write_model(Path(home) / "identity.onnx", FLOATS)
            scaled = FunctionDefinition(
                name=NAME, model=ModelSource(file=str(model)), replicas=None, autoscale=Autoscale(min=0, max=1)
            )
            await client.deploy(scaled)
            await client.invoke(NAME, {INPUT: row(FLOATS)}, timeout_s=PATIENCE_S)  # its device is up now
            taken = [await one_round(client) for _ in range(rounds)]
    return summary(taken)


async def one_round(client: Client) -> dict[str, float]:
    """Wait for zero, call, and look at what it took."""
    with anyio.fail_after(PATIENCE_S):
        while any(status.function == NAME for status in await client.replicas()):
            await anyio.sleep(0.05)
    before = len(await cold_starts(client))
    begun_us = monotonic_us()
    await client.invoke(NAME, {INPUT: row(FLOATS)}, timeout_s=PATIENCE_S)
    total_ms = (monotonic_us() - begun_us) / US_PER_MS
    (load_ms,) = [status.load_ms for status in await client.replicas() if status.function == NAME and not status.loan]
    with anyio.fail_after(PATIENCE_S):
        while len(told := await cold_starts(client)) == before:
            await anyio.sleep(0.05)
    parts = {part: float(told[-1].fields[part]) for part in PARTS}
    return {"total_ms": total_ms, "beyond_load_ms": total_ms - load_ms, **parts, "load_ms": load_ms}


async def cold_starts(client: Client) -> list[Event]:
    """What the gateway told of them so far."""
    return [event async for event in client.logs(NAME) if event.kind == "cold_start"]


def summary(taken: list[dict[str, float]]) -> dict[str, Any]:
    """What to publish of the rounds."""
    medians = {key: round(statistics.median(each[key] for each in taken), 1) for key in taken[0]}
    slowest_ms = round(max(each["beyond_load_ms"] for each in taken), 1)
    rounds = [{key: round(value, 1) for key, value in each.items()} for each in taken]
    return {**medians, "beyond_load_ms_max": slowest_ms, "target_ms": TARGET_MS, "rounds": rounds}


if __name__ == "__main__":
    print(msgspec.json.encode(anyio.run(cold_start)).decode(), flush=True)
    sys.exit(0)
