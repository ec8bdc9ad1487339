"""Tells of the requests whose traces are kept: to the `traces` stream, and as spans to a collector if there is one."""

import logging

import anyio

from fastgshare.gateway.core.keeping import Keeper
from fastgshare.shared import subjects
from fastgshare.shared.bus import Bus
from fastgshare.shared.codec import encode
from fastgshare.shared.messages import RequestTrace
from fastgshare.shared.telemetry.otlp_spans import Spans
from fastgshare.shared.telemetry.spans_backlog import Backlog
from fastgshare.shared.telemetry.spans_pace import tell_all, tell_slowly
from fastgshare.shared.telemetry.spans_request import request_spans

logger = logging.getLogger(__name__)


class TraceTeller:
    """Empties the keeper's backlog beside the requests. `lost` counts records that nobody could be told.

    A collector that is slow or away does not keep anything from the stream: what is for it waits apart.
    """

    def __init__(self, bus: Bus, keeper: Keeper, spans: Spans) -> None:
        self._bus = bus
        self._backlog = keeper.backlog
        self._spans = spans
        self._for_collector: Backlog[RequestTrace] = Backlog()
        self.lost = 0

    async def run(self) -> None:
        """Tell what is kept, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tell_slowly, self._backlog, self._publish)
            if self._spans.is_on:
                tasks.start_soon(tell_slowly, self._for_collector, self._export, lambda: self._spans.has_room)

    async def finish(self) -> None:
        """Tell what is kept by now: the stream first, then the collector as long as there is room on the way to it."""
        await tell_all(self._backlog, self._publish)
        await tell_all(self._for_collector, self._export, lambda: self._spans.has_room)

    @property
    def dropped(self) -> int:
        """Records that were kept and found no room on their way."""
        return self._backlog.dropped + self._for_collector.dropped + self.lost

    @property
    def spans_dropped(self) -> int:
        """Spans that found no room on their way to the collector, or that it did not take."""
        return self._spans.dropped

    async def _export(self, traces: list[RequestTrace]) -> None:
        for trace in traces:
            try:
                self._spans.put(request_spans(trace))
            except Exception as error:  # whatever callers and workers made of it: it ends no gateway
                self.lost += 1
                logger.warning("spans of trace %s not told: %r", trace.trace_id, error)

    async def _publish(self, traces: list[RequestTrace]) -> None:
        for trace in traces:
            if self._spans.is_on and self._for_collector.has_room(matters=trace.is_met is False):
                self._for_collector.put(trace)
            try:
                subject = subjects.trace(trace.function, trace.request, trace.trace_id)
                await self._bus.publish(subject, encode(trace))
            except Exception as error:  # the bus's, or a request id that is no text
                self.lost += 1
                logger.info("trace %s not published: %r", trace.trace_id, error)
