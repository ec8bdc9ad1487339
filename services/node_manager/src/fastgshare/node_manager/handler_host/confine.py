"""The bounds of a handler's process: memory, processors, threads, signals, no core files.

They keep a mistake in user code from hurting its neighbours; they are no wall against code that means harm.
"""

import faulthandler
import os
import resource
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from fastgshare.shared.units import BYTES_PER_KIB, BYTES_PER_MIB

OOM_SCORE = "800"  # when the host runs out of memory, a handler goes before its worker


def keep_calm() -> None:
    """Bounds that hold from the process's first moment.

    It ends with its channel, so that it can finish the last requests: SIGINT and SIGTERM, which a terminal or a
    service manager sends to everybody, do nothing here. SIGABRT prints where the code was stuck, then ends it.
    """
    for sig in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sig, lambda *_: None)  # unlike SIG_IGN, not passed on to what the user's code starts
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)


def run_on(cpus: Sequence[int]) -> None:
    """Keep to these processors, threads started later included."""
    if cpus:
        os.sched_setaffinity(0, cpus)


def limit_memory(limit_mib: int) -> None:
    """Let this process use `limit_mib` more than it does now; beyond, allocations fail.

    RLIMIT_DATA counts private memory that can be written to. Address space (RLIMIT_AS) would also count what
    libraries only map or reserve, gigabytes for some, and refuse them without need.
    """
    limit_bytes = _data_bytes() + limit_mib * BYTES_PER_MIB
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def _data_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * BYTES_PER_KIB
    return 0
