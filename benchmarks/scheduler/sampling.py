"""Where a piece of Python spends its processor time, by room: the process is looked at every so often while it runs.

Looking costs little and slows no room more than another, which a tracing profiler does to many small calls.
"""

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EVERY_S = 0.001
PACKAGE = "fastgshare"
SHARED = "shared"
"""Its code works for the room that called it."""
ELSEWHERE = "elsewhere"


@contextmanager
def sampled() -> Iterator[Counter[str]]:
    """Samples by room while it lasts. In the main thread, on systems with `setitimer`."""
    found: Counter[str] = Counter()

    def look(_number: int, frame: FrameType | None) -> None:
        found[room_of(frame)] += 1

    before = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)
    try:
        yield found
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def shares(found: Counter[str]) -> dict[str, float]:
    """Of all samples, largest first."""
    whole = sum(found.values())
    return {room: round(count / whole, 3) for room, count in found.most_common()}


def room_of(frame: FrameType | None) -> str:
    """The service, or `simulator`, whose code is on the innermost frame that belongs to any."""
    while frame is not None:
        package, _, rest = str(frame.f_globals.get("__name__", "")).partition(".")
        room = rest.partition(".")[0]
        if package == PACKAGE and room not in ("", SHARED):
            return room
        frame = frame.f_back
    return ELSEWHERE
