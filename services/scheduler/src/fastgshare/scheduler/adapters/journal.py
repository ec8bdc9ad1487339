"""Keeps a journal of a live run: everything the core stepped through, appended to files of bounded size.

The core never waits: an entry is encoded where it is decided (some microseconds) and written by a thread, within half
a second. Every segment begins with a checkpoint of the core, so that it can be replayed alone; whole segments are
dropped, the oldest first, to keep an instance's files within their bound. A disk that does not keep up, or fails,
costs entries and never decisions: what waits is let go, and the next segment tells of the gap.
"""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import anyio
import anyio.to_thread

from fastgshare.scheduler.adapters.checkpoint import CheckpointInvalid
from fastgshare.scheduler.adapters.journal_file import SUFFIX, SegmentWriter, beginning, record_of
from fastgshare.scheduler.core.commands import Decision
from fastgshare.scheduler.core.events import Event
from fastgshare.scheduler.core.replay import Entry
from fastgshare.scheduler.core.scheduler import Scheduler
from fastgshare.shared.clock import monotonic_us, unix_us
from fastgshare.shared.units import BYTES_PER_MIB, us_to_s

FLUSH_S = 0.5
AGAIN_S = 10.0
"""How long after a fault another segment is tried."""
SEGMENTS = 16
"""How many segments fill the bound."""
MAX_FILES = 256
"""Of an instance: a scheduler that starts again and again must not fill a directory."""
MAX_WAITING = 16 * BYTES_PER_MIB

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Piece:
    """What waits to be written; `start`, the record of a beginning, opens a new segment for it."""

    start: bytes = b""
    records: bytearray = field(default_factory=bytearray)


class Journal:
    """The journal of one run of `core`. The runs of an `instance` share `max_bytes` of `root`/`instance`."""

    def __init__(self, core: Scheduler, root: Path, instance: str, max_bytes: int) -> None:
        self._core = core
        self._instance = instance
        self._max_bytes = max_bytes
        self._runs = root / instance
        self._run = self._runs / f"{datetime.fromtimestamp(us_to_s(unix_us()), UTC):%Y%m%dT%H%M%S.%fZ}"
        self._segment: SegmentWriter | None = None
        self._segments = 0
        self._gap = False
        self.gaps = 0
        self._pieces: list[_Piece] = []
        """The last takes entries. None at all: no journal is kept now."""

    def begin(self) -> None:
        """Start a segment from what the core believes now; what is recorded from here on is in it."""
        try:
            start = beginning(self._core, self._instance, (unix_us(), monotonic_us()), self._gap)
        except CheckpointInvalid as error:
            logger.error("no journal is kept: %s", error)
            self._pieces = []
            return
        self._pieces.append(_Piece(record_of(start)))
        self._gap = False

    def record(self, now_us: int, event: Event, decision: Decision) -> None:
        """Note a step that the core just made. It is in the file within a second."""
        if not self._pieces:
            return
        waiting = self._pieces[-1].records
        waiting += record_of(Entry(now_us, event, decision))
        if len(waiting) > MAX_WAITING:
            logger.warning("journal: the disk does not keep up, %d bytes are let go", len(waiting))
            self._let_go()
            self.begin()

    async def run(self) -> None:
        """Write, until cancelled; then what is left."""
        try:
            while True:
                await anyio.sleep(FLUSH_S)
                await self.tend()
                if self._gap:
                    await anyio.sleep(AGAIN_S)
                    self.begin()
        finally:
            with anyio.CancelScope(shield=True):
                await self.close()

    async def close(self) -> None:
        """Write what waits, and let go of the file."""
        await self._flush()
        self._pieces = []
        if self._segment is not None:
            try:
                self._segment.close()
            except OSError as error:  # what a full disk did not take is tried once more here
                logger.warning("journal: its end is not written: %s", error)
            self._segment = None

    async def tend(self) -> None:
        """Write what waits, and start another segment where this one is full."""
        await self._flush()
        if self._segment is not None and self._segment.size >= self._limit(self._segment):
            self.begin()

    def _limit(self, segment: SegmentWriter) -> int:
        """At which size a segment is full: never one of which the beginning is more than half."""
        return max(self._max_bytes // SEGMENTS, 2 * segment.start_size)

    async def _flush(self) -> None:
        pieces = [piece for piece in self._pieces if piece.start or piece.records]
        if not pieces:
            return
        self._pieces = [_Piece()]
        try:
            await anyio.to_thread.run_sync(self._write, pieces)
        except OSError as error:
            logger.warning("journal: not written, again in %g s: %s", AGAIN_S, error)
            self._let_go()

    def _let_go(self) -> None:
        self._pieces = []
        self._gap = True
        self.gaps += 1

    def _write(self, pieces: list[_Piece]) -> None:
        """In a thread, one at a time."""
        for piece in pieces:
            if piece.start or self._segment is None:
                self._segment = self._next_segment()
            if piece.start:
                self._segment.begin(piece.start)
            self._segment.write(piece.records)

    def _next_segment(self) -> SegmentWriter:
        if self._segment is not None:
            self._segment.close()
        self._drop_oldest()
        self._run.mkdir(parents=True, exist_ok=True)
        self._segments += 1
        return SegmentWriter((self._run / f"{self._segments:06}{SUFFIX}").open("xb"))

    def _drop_oldest(self) -> None:
        """Leave room for one segment more."""
        segments = [(path, path.stat().st_size) for path in segments_under(self._runs)]
        room = self._max_bytes - (self._limit(self._segment) if self._segment else self._max_bytes // SEGMENTS)
        total = sum(size for _, size in segments)
        for left, (path, size) in zip(range(len(segments), 0, -1), segments, strict=True):
            if total <= room and left < MAX_FILES:
                return
            path.unlink()
            total -= size
            if path.parent != self._run and not any(path.parent.iterdir()):
                path.parent.rmdir()


def segments_under(place: Path) -> list[Path]:
    """The segments in a directory of an instance's runs, or of one run, the oldest first; a file is one itself."""
    if place.is_file():
        return [place]
    return sorted(path for path in place.rglob(f"*{SUFFIX}") if path.is_file())
