"""The stub driver: compiled once, loaded before the bindings look for a real one.

A library that is loaded answers to its soname, so that whoever opens `libcuda.so.1` in this process gets the stub.
"""

import ctypes
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("libcuda_stub.c")
SONAME = "libcuda.so.1"


class Stub:
    """The stub's books, log and faults."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        self._library.stub_log.restype = ctypes.c_char_p
        self._library.stub_count.restype = ctypes.c_long

    def count(self, what: str) -> int:
        value = int(self._library.stub_count(what.encode()))
        assert value >= 0, f"the stub keeps no book of {what}"
        return value

    def log(self) -> list[str]:
        text: bytes = self._library.stub_log()
        return text.decode().splitlines()

    def fail(self, call: str, code: int, after: int = 0) -> None:
        """The call after `after` more of its kind returns `code`."""
        self._library.stub_fail(call.encode(), code, after)

    def reset(self) -> None:
        self._library.stub_reset()

    def left(self) -> dict[str, int]:
        """What was made and not destroyed."""
        books = ("primaries", "contexts", "streams", "events", "graphs", "allocations")
        return dict(+Counter({book: self.count(book) for book in books}))


def compile_stub(directory: Path) -> Path:
    """The stub as a library; skips the test where there is no compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("the stub driver needs a C compiler, and this machine has none")
    path = directory / SONAME
    command = [
        compiler,
        "-O1",
        "-shared",
        "-fPIC",
        f"-Wl,-soname,{SONAME}",
        "-o",
        str(path),
        str(SOURCE),
        "-lpthread",
        "-ldl",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    return path


def driver_of_this_process() -> str:
    """The libcuda that this process has mapped; empty: none."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.partition("/")[2]
        if path and "libcuda.so" in path:
            return f"/{path}"
    return ""
