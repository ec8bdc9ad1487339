"""What a child prints, as lines: bounded in length and in rate. Pure: bytes and the time in, lines out.

What does not fit is counted, and the count is itself a line.
"""

from fastgshare.shared.units import US_PER_S

MAX_LINE_BYTES = 4096
LINES_PER_S = 200
BURST_LINES = 1000
CUT_MARK = " [...]"


class LineLimiter:
    """Cuts a child's output into lines; above a steady rate and a burst, lines are dropped and counted."""

    def __init__(
        self,
        max_line_bytes: int = MAX_LINE_BYTES,
        lines_per_s: int = LINES_PER_S,
        burst_lines: int = BURST_LINES,
    ) -> None:
        self._max_line_bytes = max_line_bytes
        self._lines_per_s = lines_per_s
        self._burst_lines = burst_lines
        self._allowance = float(burst_lines)
        self._counted_us = 0
        self._dropped = 0
        self._partial = b""
        self._cutting = False

    @property
    def is_flooded(self) -> bool:
        """Whether lines are being dropped."""
        return self._dropped > 0

    def feed(self, data: bytes, now_us: int) -> list[str]:
        """The lines that `data` completes, as far as the rate allows. What is dropped costs next to nothing."""
        self._earn(now_us)
        lines: list[str] = []
        start = 0
        while self._allowance >= 1 and (end := data.find(b"\n", start)) >= 0:
            self._add(data[start:end])
            lines += self._end_line()
            start = end + 1
        if (last := data.rfind(b"\n", start)) >= 0:
            self._dropped += data.count(b"\n", start)
            self._partial, self._cutting = b"", False
            start = last + 1
        self._add(data[start:])
        return lines

    def finish(self) -> list[str]:
        """The last words: a line without its end, and how many lines were dropped."""
        if self._partial and self._allowance >= 1:
            return self._end_line()
        self._dropped += bool(self._partial)
        return [self._dropped_line()] if self._dropped else []

    def _earn(self, now_us: int) -> None:
        if self._counted_us:
            earned = (now_us - self._counted_us) * self._lines_per_s / US_PER_S
            self._allowance = min(self._burst_lines, self._allowance + earned)
        self._counted_us = now_us

    def _add(self, piece: bytes) -> None:
        room = self._max_line_bytes - len(self._partial)
        self._cutting = self._cutting or len(piece) > room
        self._partial += piece[:room]

    def _end_line(self) -> list[str]:
        text = self._partial.decode(errors="replace").rstrip("\r") + (CUT_MARK if self._cutting else "")
        self._partial, self._cutting = b"", False
        self._allowance -= 1
        return [self._dropped_line(), text] if self._dropped else [text]

    def _dropped_line(self) -> str:
        dropped, self._dropped = self._dropped, 0
        return f"[{dropped} lines dropped: more than {self._lines_per_s} a second]"
