"""Spans to an OpenTelemetry collector, by OTLP over HTTP; to nobody where no endpoint is set.

OpenTelemetry's own variables decide (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`, `OTEL_BSP_...`,
`OTEL_SDK_DISABLED`). The library that sends is imported only where there is something to send to; it does so in a
thread of its own, from a bounded queue. What has no room there is dropped and counted, and so is what cannot be sent.
"""

import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import anyio

from fastgshare.shared.telemetry.spans import Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
QUEUE_VARIABLE = "OTEL_BSP_MAX_QUEUE_SIZE"
QUEUE = 4096
BATCH_VARIABLE = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
BATCH = 512
FLUSH_S = 2.0
FLUSH_POLL_S = 0.01
# The thread that packs spans must not keep the event loop waiting for the interpreter for the usual 5 ms.
SWITCH_INTERVAL_S = 0.0005

logger = logging.getLogger(__name__)


class Spans(Protocol):
    """Where spans go. `exported` and `dropped` count spans since the start."""

    @property
    def is_on(self) -> bool:
        """Whether anybody gets them; if not, none need be made."""
        ...

    @property
    def has_room(self) -> bool:
        """Whether some more would find room."""
        ...

    @property
    def exported(self) -> int:
        """Handed over to the collector."""
        ...

    @property
    def dropped(self) -> int:
        """Lost for want of room, or because the collector did not take them."""
        ...

    def put(self, spans: Iterable[Span]) -> None:
        """Send these some time soon; never waits."""
        ...


class NoSpans:
    """Nobody gets any."""

    is_on = False
    has_room = True
    exported = 0
    dropped = 0

    def put(self, spans: Iterable[Span]) -> None:
        """Nothing comes of them."""


class OtlpSpans:
    """Through the SDK's batch processor. Made by `open_spans`."""

    is_on = True

    def __init__(
        self,
        processor: "BatchSpanProcessor",
        tally: "Tally",
        convert: "Callable[[Span], ReadableSpan]",
        room: int,
    ) -> None:
        self._processor = processor
        self._tally = tally
        self._convert = convert
        self._room = room
        self._taken = 0
        self._refused = 0

    @property
    def has_room(self) -> bool:
        """Whether half of the queue is free."""
        return self._waiting <= self._room // 2

    @property
    def _waiting(self) -> int:
        return self._taken - self._tally.exported - self._tally.failed

    @property
    def exported(self) -> int:
        """Handed over to the collector."""
        return self._tally.exported

    @property
    def dropped(self) -> int:
        """Lost for want of room, or because the collector did not take them."""
        return self._refused + self._tally.failed

    def put(self, spans: Iterable[Span]) -> None:
        """Queue these for the sending thread."""
        for span in spans:
            if self._waiting >= self._room:
                self._refused += 1
                continue
            self._taken += 1
            self._processor.on_end(self._convert(span))


class Tally:
    """Counts what the exporter it stands for sends, and what it could not."""

    def __init__(self, exporter: "SpanExporter") -> None:
        self._exporter = exporter
        self.exported = 0
        self.failed = 0

    def export(self, spans: "Sequence[ReadableSpan]") -> "SpanExportResult":
        """Send; blocks for as long as the exporter tries."""
        try:
            result = self._exporter.export(spans)
        except BaseException:
            self.failed += len(spans)
            raise
        if result.name == "SUCCESS":
            self.exported += len(spans)
        else:
            self.failed += len(spans)
        return result

    def shutdown(self) -> None:
        """Try nothing again."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        return self._exporter.force_flush(timeout_millis)


def is_wanted(env: Mapping[str, str]) -> bool:
    """Whether spans are to be exported."""
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or env.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return any(env.get(variable) for variable in ENDPOINTS)


@asynccontextmanager
async def open_spans(attributes: Mapping[str, str], env: Mapping[str, str]) -> AsyncIterator[Spans]:
    """Spans of one process, whose resource has these `attributes`; at the end what waits is sent, for two seconds."""
    if not is_wanted(env):
        yield NoSpans()
        return
    processor, tally, spans = _open_exporter(attributes, env)
    sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL_S))
    try:
        yield spans
    finally:
        with anyio.CancelScope(shield=True):
            await _close(processor, tally)
        if spans.dropped:
            logger.warning("%d of %d spans were dropped", spans.dropped, spans.dropped + spans.exported)


def _open_exporter(
    attributes: Mapping[str, str], env: Mapping[str, str]
) -> "tuple[BatchSpanProcessor, Tally, OtlpSpans]":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from fastgshare.shared.telemetry.otlp_readable import Converter

    room = _number(env, QUEUE_VARIABLE, QUEUE)
    batch = min(_number(env, BATCH_VARIABLE, BATCH), room)  # the SDK wants no batch larger than its queue
    tally = Tally(OTLPSpanExporter())
    processor = BatchSpanProcessor(
        tally,  # type: ignore[arg-type]  # an exporter by its shape
        max_queue_size=room,
        max_export_batch_size=batch,
    )
    return processor, tally, OtlpSpans(processor, tally, Converter(attributes), room)


def _number(env: Mapping[str, str], variable: str, otherwise: int) -> int:
    text = env.get(variable, "")
    return int(text) if text.isdecimal() and int(text) else otherwise


async def _close(processor: "BatchSpanProcessor", tally: Tally) -> None:
    """A collector that does not answer keeps a thread busy for up to its own timeout: that one is left behind."""
    closing = threading.Thread(target=processor.shutdown, name="spans-flush", daemon=True)
    closing.start()
    with anyio.move_on_after(FLUSH_S):
        while closing.is_alive():
            await anyio.sleep(FLUSH_POLL_S)
    if closing.is_alive():
        threading.Thread(target=tally.shutdown, name="spans-give-up", daemon=True).start()
