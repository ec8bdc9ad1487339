"""The `cpu` device: real inference on cores; a chunk is a core.

Threads are pinned with `sched_setaffinity`; threads that a runtime makes inherit it. More compute threads than cores
in the set ran 4 to 7 times slower, so a session gets exactly as many as its slice has chunks.
"""

import os
import platform
from pathlib import Path

from fastgshare.shared.units import BYTES_PER_KIB, BYTES_PER_MIB


class CpuDevice:
    """This process's cores, or the first `cores` of them."""

    def __init__(self, cores: int = 0) -> None:
        available = sorted(os.sched_getaffinity(0))
        self._cores = available[:cores] if cores > 0 else available
        self.kind = cpu_kind()
        self.chunks = len(self._cores)
        self.memory_mib = memory_limit_mib()

    def enter(self, chunks: tuple[int, ...]) -> None:
        """Pin the calling thread to the chunks' cores."""
        os.sched_setaffinity(0, {self._cores[chunk] for chunk in chunks})


def cpu_kind() -> str:
    """A name for CPUs that run a model equally fast: the model name, as a bucket key may hold it."""
    name = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2]
                break
    words = "".join(c if c.isalnum() else " " for c in name.lower()).split()
    return "-".join(["cpu", *words])[:64]


def memory_limit_mib() -> int:
    """Memory this process may use: the machine's, or its control group's limit where that is lower."""
    total_mib = 1024
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        total_mib = int(meminfo.read_text().split(maxsplit=2)[1]) * BYTES_PER_KIB // BYTES_PER_MIB
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.exists() else "max"
    return min(total_mib, int(text) // BYTES_PER_MIB) if text.isdigit() else total_mib
