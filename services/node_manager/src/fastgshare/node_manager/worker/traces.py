"""The traces of what a worker serves, made after the fact: most requests cost a look at one character and at the clock.

Kept are those that are sampled, and those that miss their objective here or fail by no fault of their caller's. What a
gateway keeps beyond them, it tells of by itself.
"""

import logging
from collections.abc import Iterable

from msgspec.structs import replace

from fastgshare.node_manager.worker.assemble import Request
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import ErrorBody
from fastgshare.shared.ids import DeviceId, FunctionName, ReplicaId
from fastgshare.shared.messages import Timing
from fastgshare.shared.objective import is_met
from fastgshare.shared.telemetry.otlp_spans import Spans
from fastgshare.shared.telemetry.spans import Span
from fastgshare.shared.telemetry.spans_backlog import Backlog
from fastgshare.shared.telemetry.spans_pace import tell_all, tell_slowly
from fastgshare.shared.telemetry.spans_request import ANSWERED, BatchRun, Served, batch_span, served_spans
from fastgshare.shared.tracing import SAMPLED_END, new_trace, parse_traceparent

logger = logging.getLogger(__name__)

Told = Served | BatchRun


class SpanTeller:
    """Sends the spans of all replicas of a worker, beside its requests."""

    def __init__(self, spans: Spans, device: DeviceId) -> None:
        self.device = device
        self._spans = spans
        self._backlog: Backlog[Told] = Backlog()
        self._faults = 0

    def has_room(self, matters: bool) -> bool:
        """Whether there is room to tell of one more, if anybody listens; samples leave some to what matters."""
        return not self._spans.is_on or self._backlog.has_room(matters)

    def put(self, told: Told) -> None:
        """From any thread, after `has_room`: tell of this some time soon."""
        if self._spans.is_on:
            self._backlog.put(told)

    @property
    def dropped(self) -> int:
        """What was kept and found no room on its way, or could not be told."""
        return self._backlog.dropped + self._faults

    @property
    def spans_dropped(self) -> int:
        """Spans that found no room on their way, or were not taken."""
        return self._spans.dropped

    async def run(self) -> None:
        """Tell what was put, until cancelled."""
        await tell_slowly(self._backlog, self._tell, lambda: self._spans.has_room)

    async def finish(self) -> None:
        """Tell what was put by now, as long as there is room where it goes."""
        await tell_all(self._backlog, self._tell, lambda: self._spans.has_room)

    async def _tell(self, told: list[Told]) -> None:
        for one in told:
            try:
                self._spans.put(_spans_of(one))
            except Exception as error:  # whatever a message made of it: it ends no worker, others are told of
                self._faults += 1
                logger.warning("spans of %s not told: %r", type(one).__name__, error)


class ReplicaTraces:
    """Looks at every request of one replica as it ends."""

    def __init__(self, teller: SpanTeller, function: FunctionName, replica: ReplicaId) -> None:
        self._teller = teller
        self._function = function
        self._replica = replica

    def ended(self, request: Request, timing: Timing, error: ErrorBody | None, batch: BatchRun | None) -> Timing:
        """The timing to send with the answer: with times and batch in it where the request's trace is kept.

        Once for every request that ends, from one thread for those of a batch.
        """
        end_us = unix_us()
        code = error.code if error is not None else ""
        missed = is_met(code, timing.first_us or end_us, request.objective_us, request.deadline_us) is False
        if missed or request.traceparent[-1:] == SAMPLED_END:
            timing = self._keep(request, timing, code, batch, end_us, missed)
        self.recalled(batch)
        return timing

    def recalled(self, batch: BatchRun | None) -> None:
        """One of a batch has ended; called for a request that nobody wants any more, of which nothing else is told."""
        if batch is not None:
            batch.left -= 1
            if not batch.left and batch.members and self._teller.has_room(batch.matters):
                self._teller.put(batch)

    def _keep(
        self, request: Request, timing: Timing, code: str, batch: BatchRun | None, end_us: int, missed: bool
    ) -> Timing:
        own = parse_traceparent(request.traceparent)  # only here: to read it for every request would cost more
        if own is None or not self._teller.has_room(missed):
            return timing
        if batch is not None and not batch.span:
            apart = new_trace(sampled=True)
            batch.span = f"{apart.trace_id}-{apart.span_id}"
        timing = replace(
            timing,
            arrived_us=request.arrived_us,
            end_us=max(end_us, request.arrived_us),
            batch_span=batch.span if batch is not None else "",
        )
        served = Served(
            trace_id=own.trace_id,
            span_id=own.span_id,
            attempt=request.attempt,
            number=_number(request.attempt),
            function=self._function,
            replica=self._replica,
            device=self._teller.device,
            timing=timing,
            outcome=code or ANSWERED,
        )
        if batch is not None:
            batch.members.append(served)
            batch.matters = batch.matters or missed
        self._teller.put(served)
        return timing


def _spans_of(told: Told) -> Iterable[Span]:
    return served_spans(told) if isinstance(told, Served) else [batch_span(told)]


def _number(attempt: str) -> int:
    text = attempt.rpartition(".")[2]
    return int(text) if text.isdecimal() and len(text) < 10 else 1
