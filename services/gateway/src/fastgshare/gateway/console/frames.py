"""The picture of the platform, drawn once a tick for however many look, and never when nobody does. No I/O of its own.

A viewer that is slow asks later and gets what is then the newest: frames are skipped, never queued.
"""

from collections.abc import Callable

import msgspec

from fastgshare.shared.overview.fold import Overview
from fastgshare.shared.units import US_PER_MS

_encoder = msgspec.json.Encoder()


class Frames:
    """Frames of one overview; a tick is a stretch of `interval_us` of the wall clock."""

    def __init__(self, overview: Overview, now_us: Callable[[], int], interval_ms: int) -> None:
        self._overview = overview
        self._now_us = now_us
        self._interval_us = interval_ms * US_PER_MS
        self._tick = -1
        self._frame = b""

    def newest(self) -> bytes:
        """The frame of this tick, as an event of an event stream."""
        now_us = self._now_us()
        if (tick := now_us // self._interval_us) != self._tick:
            self._frame = b"event: view\ndata: " + _encoder.encode(self._overview.view(now_us)) + b"\n\n"
            self._tick = tick
        return self._frame

    def until_next_us(self) -> int:
        """How long this tick still lasts."""
        return self._interval_us - self._now_us() % self._interval_us
