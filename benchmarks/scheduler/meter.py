"""How many cores of this machine others kept busy meanwhile: nothing that is measured then is worth more than that."""

import os
import resource
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.overhead.machine import cpu_us

US_PER_S = 1_000_000
# Fields of the `cpu` line of /proc/stat, see proc_stat(5): user, nice, system; idle, iowait; irq, softirq.
BUSY = (0, 1, 2, 5, 6)


class Meter:
    """Runs from its making on. Ours are the processes of `pids`, this one, and children of it that end meanwhile."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._began_s = time.monotonic()
        self._all_s = _all_s()
        self._ours_s = self._ours()

    def others_cores(self) -> float:
        """On average since then."""
        passed_s = time.monotonic() - self._began_s
        others_s = _all_s() - self._all_s - (self._ours() - self._ours_s)
        return max(others_s, 0.0) / passed_s if passed_s > 0 else 0.0

    def _ours(self) -> float:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return sum(cpu_us(self._pids).values()) / US_PER_S + time.process_time() + ended.ru_utime + ended.ru_stime


def _all_s() -> float:
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return sum(int(fields[at]) for at in BUSY) / os.sysconf("SC_CLK_TCK")
