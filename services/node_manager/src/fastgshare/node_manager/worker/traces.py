"""The traces of what a worker serves, made after the fact: most requests cost a look at one character and at the clock.

Kept are those that are sampled, and those that miss their objective here or fail by no fault of their caller's. What a
gateway keeps beyond them, it tells of by itself.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from fastgshare.node_manager.worker.assemble import Request
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import ErrorBody
from fastgshare.shared.ids import DeviceId, FunctionName, ReplicaId
from fastgshare.shared.messages import Timing
from fastgshare.shared.objective import CALLERS_DOING
from fastgshare.shared.telemetry.otlp_spans import Spans
from fastgshare.shared.telemetry.spans import Span
from fastgshare.shared.telemetry.spans_backlog import Backlog
from fastgshare.shared.telemetry.spans_pace import tell_all, tell_slowly
from fastgshare.shared.telemetry.spans_request import ANSWERED, BatchRun, Served, batch_span, served_spans
from fastgshare.shared.tracing import SAMPLED_END, new_trace

Told = Served | BatchRun
_TRACE_ID = slice(3, 35)
_SPAN_ID = slice(36, 52)


class SpanTeller:
    """Sends the spans of all replicas of a worker, beside its requests."""

    def __init__(self, spans: Spans, device: DeviceId) -> None:
        self.device = device
        self._spans = spans
        self._backlog: Backlog[Told] = Backlog()

    def put(self, told: Told) -> None:
        """From any thread: tell of this some time soon, if anybody listens."""
        if self._spans.is_on and self._backlog.has_room(matters=True):
            self._backlog.put(told)

    async def run(self) -> None:
        """Tell what was put, until cancelled."""
        await tell_slowly(self._backlog, self._tell, lambda: self._spans.has_room)

    async def finish(self) -> None:
        """Tell what was put by now."""
        await tell_all(self._backlog, self._tell)

    async def _tell(self, told: list[Told]) -> None:
        for one in told:
            self._spans.put(_spans_of(one))


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
        if (
            request.traceparent[-1:] == SAMPLED_END
            or end_us > request.objective_us > 0
            or (error is not None and request.objective_us > 0 and error.code not in CALLERS_DOING)
        ):
            timing = self._keep(request, timing, error, batch, end_us)
        self.recalled(batch)
        return timing

    def recalled(self, batch: BatchRun | None) -> None:
        """One of a batch has ended; called for a request that nobody wants any more, of which nothing else is told."""
        if batch is not None:
            batch.left -= 1
            if not batch.left and batch.members:
                self._teller.put(batch)

    def _keep(
        self, request: Request, timing: Timing, error: ErrorBody | None, batch: BatchRun | None, end_us: int
    ) -> Timing:
        if not request.traceparent:
            return timing
        if batch is not None and not batch.span:
            own = new_trace(sampled=True)
            batch.span = f"{own.trace_id}-{own.span_id}"
        timing = replace(
            timing,
            arrived_us=request.arrived_us,
            end_us=max(end_us, request.arrived_us),
            batch_span=batch.span if batch is not None else "",
        )
        served = Served(
            trace_id=request.traceparent[_TRACE_ID],
            span_id=request.traceparent[_SPAN_ID],
            attempt=request.attempt,
            number=_number(request.attempt),
            function=self._function,
            replica=self._replica,
            device=self._teller.device,
            timing=timing,
            outcome=ANSWERED if error is None else error.code,
        )
        if batch is not None:
            batch.members.append(served)
        self._teller.put(served)
        return timing


def _spans_of(told: Told) -> Iterable[Span]:
    return served_spans(told) if isinstance(told, Served) else [batch_span(told)]


def _number(attempt: str) -> int:
    text = attempt.rpartition(".")[2]
    return int(text) if text.isdecimal() and len(text) < 10 else 1
