"""Facts about the machine that a run's figures belong to, and how busy its cores were."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import anyio

from fastgshare.cli.up.embedded import find_server
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.units import US_PER_S

PACKAGES = ("fastgshare-shared", "nats-py", "onnxruntime", "numpy", "msgspec", "uvloop", "uvicorn", "pillow", "httpx")
SAMPLE_S = 0.25
# Fields of a `cpu` line of /proc/stat, see proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal.
_ALL, _IDLE = slice(0, 8), slice(3, 5)


def facts() -> dict[str, str | int]:
    """Cores, processor, system and versions."""
    server = subprocess.run([find_server(), "--version"], capture_output=True, text=True, check=True)
    return {
        "cores": cores(),
        "processor": _processor(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "nats-server": server.stdout.strip().rpartition("v")[2],
        **{package: version(package) for package in PACKAGES},
    }


def cores() -> int:
    """The cores this process, and so the platform, may use."""
    return len(os.sched_getaffinity(0))


class CoreTime:
    """How much of the cores' time was spent, by anybody, sampled since `origin_us`."""

    def __init__(self, origin_us: int) -> None:
        self._origin_us = origin_us
        self._samples: list[tuple[int, float]] = []

    async def sample(self) -> None:
        """Until cancelled."""
        while True:
            self.add(monotonic_us() - self._origin_us, _busy_core_seconds())
            await anyio.sleep(SAMPLE_S)

    def add(self, at_us: int, busy_core_s: float) -> None:
        """A reading of the ever-growing counter."""
        self._samples.append((at_us, busy_core_s))

    def cores_busy(self, begin_us: int, end_us: int) -> float | None:
        """Cores at work on average between two moments; None where nothing was sampled."""
        inside = [sample for sample in self._samples if begin_us <= sample[0] <= end_us]
        if len(inside) < 2:
            return None
        (first_us, before_s), (last_us, after_s) = inside[0], inside[-1]
        return (after_s - before_s) / ((last_us - first_us) / US_PER_S)


def _busy_core_seconds() -> float:
    allowed = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    ticks = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in allowed:
            ticks += sum(map(int, fields[_ALL])) - sum(map(int, fields[_IDLE]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
