"""Which calls a handler's process gets, in what order, and who is to blame when it dies or hangs.

Calls wait here, a few at a time are handed to the process. Finished work leaves first: postprocess before
preprocess, then the earliest deadline. Every call is settled exactly once: answered, refused, out of time, given up
by its caller, or failed with the process. Only the call that ran is failed with it; its neighbours go to the next
process, once.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.messages import Tensor
from fastgshare.shared.units import US_PER_S

MAX_SENDS = 2
STREAMS = 64
RETRY_AFTER_MS = 100


class Stage(IntEnum):
    """The two things a handler does for a request, the more urgent first."""

    POSTPROCESS = 0
    PREPROCESS = 1


@dataclass(slots=True, eq=False)
class HandlerCall:
    """One call, from admission to settlement, when it lets go of its tensors. Of one that has `begun` to stream, its
    caller has parts already: it cannot be run again."""

    id: int
    stage: Stage
    deadline_us: int
    tensors: tuple[Tensor, ...]
    sends: int = 0
    waits: bool = True
    settled: bool = False
    begun: bool = False

    @property
    def what(self) -> str:
        """Its stage as people call it."""
        return self.stage.name.lower()


@dataclass(frozen=True, slots=True)
class Running:
    """What the process is doing, as it notes itself: a call's id (0: none) and since when in Unix microseconds."""

    call_id: int
    since_us: int


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a look at the clock found: calls whose time is up, a call that hangs, and when to look again."""

    expired: tuple[tuple[HandlerCall, ErrorBody], ...]
    hung: HandlerCall | None
    wake_at_us: int | None


class HandlerCalls:
    """The calls of one handler: of each stage, at most `outstanding` are with its process and `waiting` wait here.

    Each stage has room of its own at the process, so that a postprocess never waits here behind preprocess work. One
    that began to stream gives its place there back: `streams` may be open, and then the next postprocess waits.
    """

    def __init__(self, outstanding: int, waiting: int, hang_us: int, streams: int = STREAMS) -> None:
        self._outstanding_limit = outstanding
        self._waiting_limit = waiting
        self._hang_us = hang_us
        self._streams_limit = streams
        self._streams = 0
        self._last_id = 0
        self._queue: list[tuple[Stage, int, int, HandlerCall]] = []
        self._waiting = dict.fromkeys(Stage, 0)
        self._outstanding = dict.fromkeys(Stage, 0)
        self._sent: dict[int, HandlerCall] = {}

    def admit(
        self, stage: Stage, tensors: tuple[Tensor, ...], deadline_us: int, now_us: int
    ) -> HandlerCall | ErrorBody:
        """A new call, or why there cannot be one."""
        if deadline_us <= now_us:
            text = f"the deadline passed before {stage.name.lower()}"
            return ErrorBody(ErrorCode.DEADLINE_EXCEEDED, text)
        if self._waiting[stage] >= self._waiting_limit:
            text = f"{self._waiting_limit} calls of {stage.name.lower()} wait for the handler, the limit"
            return ErrorBody(ErrorCode.OVERLOADED, text, retry_after_ms=RETRY_AFTER_MS)
        self._last_id += 1
        call = HandlerCall(self._last_id, stage, deadline_us, tensors)
        self._enqueue(call)
        return call

    def take(self) -> HandlerCall | None:
        """The call to hand to the process now, if it may have another."""
        while self._queue:
            call = self._queue[0][-1]
            if not call.settled and not self._has_room(call.stage):
                return None
            heapq.heappop(self._queue)
            if not call.settled:
                self._hand_over(call)
                return call
        return None

    def finished(self, call_id: int) -> HandlerCall | None:
        """The process is through with a call: the call to settle, unless it is settled already."""
        call = self._sent.pop(call_id, None)
        if call is None:
            return None
        if call.begun:
            self._streams -= 1
        else:
            self._outstanding[call.stage] -= 1
        return call if self._settle(call) else None

    def began(self, call_id: int) -> HandlerCall | None:
        """The process sent a part of a call's answer: the call, if somebody still waits for it."""
        call = self._sent.get(call_id)
        if call is None or call.settled:
            return None
        if not call.begun:
            call.begun = True
            self._outstanding[call.stage] -= 1
            self._streams += 1
        return call

    def give_up(self, call: HandlerCall) -> bool:
        """Nobody waits for this call any more; whether the process still has it."""
        self._settle(call)
        return call.id in self._sent

    def look(self, now_us: int, running: Running) -> Ruling:
        """Hold every call against the clock."""
        expired = []
        for call in [call for call in self._unsettled() if call.deadline_us <= now_us]:
            self._settle(call)
            expired.append((call, _out_of_time(call, now_us, running)))
        self._queue = [entry for entry in self._queue if not entry[-1].settled]
        heapq.heapify(self._queue)
        times = [call.deadline_us for call in self._unsettled()]
        suspect, hung_at_us = self._suspect(now_us, running)
        if suspect is not None and hung_at_us <= now_us:
            return Ruling(tuple(expired), suspect, min(times, default=None))
        if self._sent:
            times.append(hung_at_us)
        return Ruling(tuple(expired), None, min(times, default=None))

    def lost(self, how: str, running: Running) -> tuple[tuple[HandlerCall, ErrorBody], ...]:
        """The process is gone: calls that fail with it. The others wait for the next process."""
        sent, self._sent = self._sent, {}
        self._outstanding = dict.fromkeys(Stage, 0)
        self._streams = 0
        failed = []
        for call in sent.values():
            if call.settled:
                continue
            if call.id == running.call_id:
                text = f"the handler's process ended ({how}) while it ran {call.what}"
            elif call.begun:
                text = f"the handler's process ended ({how}) while {call.what} streamed"
            elif call.sends >= MAX_SENDS:
                text = f"the handler's process ended ({how}) before {call.what} began, for the second time"
            else:
                self._enqueue(call)
                continue
            self._settle(call)
            failed.append((call, ErrorBody(ErrorCode.HANDLER_FAILED, text)))
        return tuple(failed)

    def close(self) -> tuple[HandlerCall, ...]:
        """No more of this: every call that is not settled yet."""
        calls = tuple(self._unsettled())
        for call in calls:
            self._settle(call)
        self._queue.clear()
        return calls

    def _has_room(self, stage: Stage) -> bool:
        outstanding = self._outstanding[stage]
        if stage is Stage.POSTPROCESS and self._streams and self._streams + outstanding >= self._streams_limit:
            return False
        return outstanding < self._outstanding_limit

    def _enqueue(self, call: HandlerCall) -> None:
        call.waits = True
        self._waiting[call.stage] += 1
        heapq.heappush(self._queue, (call.stage, call.deadline_us, call.id, call))

    def _hand_over(self, call: HandlerCall) -> None:
        self._waiting[call.stage] -= 1
        self._outstanding[call.stage] += 1
        self._sent[call.id] = call
        call.waits = False
        call.sends += 1

    def _settle(self, call: HandlerCall) -> bool:
        if call.settled:
            return False
        call.settled = True
        call.tensors = ()
        if call.waits:
            self._waiting[call.stage] -= 1
        return True

    def _unsettled(self) -> Iterator[HandlerCall]:
        yield from (entry[-1] for entry in self._queue if not entry[-1].settled)
        yield from (call for call in self._sent.values() if not call.settled)

    def _suspect(self, now_us: int, running: Running) -> tuple[HandlerCall | None, int]:
        """The running call and when it counts as hung: at its deadline, but never before it ran `hang_us`."""
        call = self._sent.get(running.call_id)
        if call is None:  # between two calls
            return None, now_us + self._hang_us
        return call, max(call.deadline_us, running.since_us + self._hang_us)


def _out_of_time(call: HandlerCall, now_us: int, running: Running) -> ErrorBody:
    if call.id == running.call_id:
        ran_s = (now_us - running.since_us) / US_PER_S
        return ErrorBody(ErrorCode.DEADLINE_EXCEEDED, f"the deadline passed {ran_s:.1f} s into {call.what}")
    return ErrorBody(ErrorCode.DEADLINE_EXCEEDED, f"the deadline passed while {call.what} waited for the handler")
