"""A note that outlives its writer: which call a handler's process is running, and since when.

The host writes it before each call into a file that both sides map or read; after the process's death, and while it
hangs, the worker still reads in it whom to blame. Costs a memory write, where a message would cost a system call.
"""

import mmap
import struct
from pathlib import Path

_FIELDS = struct.Struct("=QQ")
NOTHING = 0


class NoteWriter:
    """The host's side."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._words = memoryview(mmap.mmap(file.fileno(), _FIELDS.size)).cast("Q")

    def running(self, call_id: int, now_us: int) -> None:
        """The call that runs from now on. The id goes last: a reader sees no new call with an old time."""
        self._words[0] = NOTHING
        self._words[1] = now_us
        self._words[0] = call_id

    def idle(self) -> None:
        """Nothing runs."""
        self._words[0] = NOTHING


def prepare_note(path: Path) -> None:
    """Make an empty note for a new process; the last one's file stays its own."""
    path.unlink(missing_ok=True)
    path.write_bytes(bytes(_FIELDS.size))


def read_note(path: Path) -> tuple[int, int]:
    """The id of the running call (0: none), and since when it runs in Unix microseconds.

    User code can reach the note; one that it removed or cut blames nobody.
    """
    try:
        call_id, since_us = _FIELDS.unpack(path.read_bytes())
    except (OSError, struct.error):
        return NOTHING, 0
    return call_id, since_us
