"""One log file a child, written by the child itself: nothing between it and its file can block or lose lines.

Files of earlier runs are kept beside, numbered; a file that grows over the limit is copied away and cut to
nothing, which is safe because children append.
"""

import os
import re
import shutil
from pathlib import Path

import anyio
import anyio.to_thread

LIMIT_BYTES = 16 << 20
KEPT = 2
CHECK_S = 10.0
_TAIL_BYTES = 64 << 10
_TRACEBACK = "Traceback (most recent call last):"
# Of our services ("scheduler stopped: ..."), of Python's logging and exceptions, and of the NATS server.
_ERROR = re.compile(r"^\w+ stopped: |\b(ERROR|CRITICAL|FATAL)\b|\[(FTL|ERR)\]|\b(error|fatal|fault)\b|^[\w.]+Error\b")


def reason_in(lines: list[str]) -> str:
    """The last of a log's last lines, if it is an error or ends a traceback; else nothing."""
    if not lines:
        return ""
    ends_traceback = _TRACEBACK in lines and len(lines) > 1 and lines[-2].startswith(" ")
    return lines[-1] if ends_traceback or _ERROR.search(lines[-1]) else ""


class Logs:
    """The files `<directory>/<child>.log`."""

    def __init__(self, directory: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self.directory = directory
        self._limit_bytes = limit_bytes

    def path(self, child: str) -> Path:
        """Where a child writes."""
        return self.directory / f"{child}.log"

    def rotate(self) -> None:
        """Number what earlier runs left: a run begins with empty files."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for current in self.directory.glob("*.log"):
            _shift(current)
            current.rename(_numbered(current, 1))

    def open(self, child: str) -> int:
        """A descriptor that appends to the child's file; the caller closes it."""
        return os.open(self.path(child), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def size(self, child: str) -> int:
        """How many bytes stand there: where the next life's lines begin."""
        path = self.path(child)
        return path.stat().st_size if path.exists() else 0

    def last_lines(self, child: str, count: int, since_bytes: int = 0) -> list[str]:
        """The last lines written after `since_bytes`, without empty ones."""
        try:
            with self.path(child).open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                begin = since_bytes if since_bytes <= end else 0  # cut since then
                file.seek(max(begin, end - _TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            return []
        return [line for line in text.splitlines() if line.strip()][-count:]

    async def keep_bounded(self, check_s: float = CHECK_S) -> None:
        """Watch the sizes for ever."""
        while True:
            await anyio.sleep(check_s)
            await anyio.to_thread.run_sync(self.bound)

    def bound(self) -> None:
        """Copy away and cut each file that is over the limit."""
        for current in self.directory.glob("*.log"):
            if current.stat().st_size > self._limit_bytes:
                _shift(current)
                shutil.copyfile(current, _numbered(current, 1))
                os.truncate(current, 0)


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _shift(current: Path) -> None:
    for number in range(KEPT, 1, -1):
        older = _numbered(current, number - 1)
        if older.exists():
            older.replace(_numbered(current, number))
