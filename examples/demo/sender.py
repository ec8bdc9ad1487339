"""Sends a timetable: each request when it is due, whatever became of those before it.

A request's deadline is its function's objective, counted from when it was due, so its caller waits no longer than the
answer is worth; that also bounds how many are open at a time.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import anyio.lowlevel

from examples.demo.books import Ledger
from examples.demo.doors import Door, NoWord
from examples.demo.inputs import Example
from examples.demo.pace import Pace
from examples.demo.plan import Arrival
from examples.demo.tally import Ending, Outcome, Tally, ending_of
from fastgshare.client import RequestRefused, Result
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.errors import FastGShareError
from fastgshare.shared.units import US_PER_MS, us_to_s

LEAST_TIMEOUT_US = 5 * US_PER_MS  # a request whose time is over before it leaves is still sent: it counts


class Sender:
    """One load, in the time of `pace`."""

    def __init__(
        self,
        nats: Door,
        http: Door,
        examples: Mapping[str, Sequence[Example]],
        tally: Tally,
        ledger: Ledger,
        pace: Pace,
    ) -> None:
        self.sent: Counter[str] = Counter()
        self._nats = nats
        self._http = http
        self._examples = examples
        self._tally = tally
        self._ledger = ledger
        self._pace = pace

    async def run(self, timetable: Sequence[Arrival]) -> None:
        """Return when every request has ended."""
        async with anyio.create_task_group() as tasks:
            for arrival in timetable:
                late_us = self._pace.lateness_us(arrival.due_us)
                while late_us < 0:
                    await anyio.sleep(us_to_s(-late_us))
                    late_us = self._pace.lateness_us(arrival.due_us)
                await anyio.lowlevel.checkpoint()
                tasks.start_soon(self._send, arrival)

    async def _send(self, arrival: Arrival) -> None:
        door = self._http if arrival.over_http else self._nats
        example = self._examples[arrival.function][arrival.example]
        lag_us = self._pace.now_us() - arrival.due_us
        timeout_us = max(self._tally.objectives_us[arrival.function] - lag_us, LEAST_TIMEOUT_US)
        self.sent[arrival.function] += 1
        self._ledger.sent[arrival.function] += 1
        facts: dict[str, Any]
        begun_us = monotonic_us()  # not the pace: a standstill is part of the latency of what was under way
        try:
            facts = _answered(example, await door.send(example, us_to_s(timeout_us)))
        except RequestRefused as refused:
            body = refused.body
            facts = {"ending": ending_of(body.code), "code": body.code.value, "reason": body.message}
        except NoWord as nothing:
            facts = {"ending": Ending.LOST, "code": "lost", "reason": str(nothing.fields["reason"])}
        except FastGShareError as error:
            facts = {"ending": Ending.LOST, "code": "lost", "reason": f"{type(error).__name__}: {error}"}
        latency_us = lag_us + monotonic_us() - begun_us
        self._tally.add(
            Outcome(
                function=arrival.function,
                phase=arrival.phase,
                door=door.name,
                due_us=arrival.due_us,
                lag_us=lag_us,
                latency_us=latency_us,
                example=example.name,
                **facts,
            )
        )


def _answered(example: Example, result: Result) -> dict[str, Any]:
    """What an answer adds to its outcome."""
    facts: dict[str, Any] = {
        "ending": Ending.ANSWERED,
        "right": example.is_right(result.outputs),
        "expected": example.expected,
        "got": answer_of(example, result),
        "replica": result.replica or "",
    }
    if result.timing is not None:
        timing = result.timing
        facts |= {
            "queue_us": timing.queue_us,
            "token_us": timing.token_us,
            "execute_us": timing.execute_us,
            "handler_us": timing.handler_us,
            "batch": timing.batch,
        }
    return facts


def answer_of(example: Example, result: Result) -> str:
    """The answer's text."""
    text: bytes = result.outputs[example.answer].reshape(-1).tolist()[0]
    return text.decode(errors="replace")
