"""Facts about the machine that a run's figures belong to, and how busy its cores were."""

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import anyio
import anyio.to_thread

from examples.demo.figures import CoresBusy
from examples.demo.pace import Pace
from fastgshare.cli.up.embedded import find_server
from fastgshare.shared.units import US_PER_S

PACKAGES = ("nats-py", "onnxruntime", "numpy", "msgspec", "uvloop", "uvicorn", "pillow", "httpx")
SAMPLE_S = 0.5
# Fields of a `cpu` line of /proc/stat, see proc_stat(5): user, nice, system, idle, iowait, irq, softirq. The next one,
# steal, grows while a virtual machine is suspended: nobody in it was at work then.
_ALL, _IDLE = slice(0, 7), slice(3, 5)
# Fields of /proc/PID/stat behind the name: user and system time, its own and that of children that ended.
_OWN = slice(11, 15)


def facts(root: Path) -> dict[str, str | int]:
    """Cores, processor, system and versions; the commit too where `root` is a git checkout."""
    server = subprocess.run([find_server(), "--version"], capture_output=True, text=True, check=True)
    return {
        "fastgshare": version("fastgshare-shared"),
        **_commit(root),
        "cores": cores(),
        "processor": _processor(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "nats-server": server.stdout.strip().rpartition("v")[2],
        **{package: version(package) for package in PACKAGES},
    }


def _commit(root: Path) -> dict[str, str]:
    """The commit that is checked out at `root`, marked where files differ from it; nothing where there is none."""
    if not (root / ".git").exists():
        return {}
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        described = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git here, or it trusts not this directory
        return {}
    return {"commit": described.stdout.strip()}


def cores() -> int:
    """The cores this process, and so the platform, may use."""
    return len(os.sched_getaffinity(0))


class CoreTime:
    """How much of the cores' time was spent, by anybody and by this process and its descendants."""

    def __init__(self) -> None:
        self._samples: list[tuple[int, float, float]] = []

    async def sample(self, pace: Pace) -> None:
        """Until cancelled, in the load's time."""
        while True:
            by_all, by_us = await anyio.to_thread.run_sync(_core_seconds)
            self.add(pace.now_us(), by_all, by_us)
            await anyio.sleep(SAMPLE_S)

    def add(self, at_us: int, by_all_s: float, by_us_s: float) -> None:
        """A reading of both ever-growing counters."""
        self._samples.append((at_us, by_all_s, by_us_s))

    def cores_busy(self, begin_us: int, end_us: int) -> CoresBusy | None:
        """Cores at work on average between two moments; None where too little was sampled."""
        inside = [sample for sample in self._samples if begin_us <= sample[0] <= end_us]
        if len(inside) < 2:
            return None
        (first_us, *before_s), (last_us, *after_s) = inside[0], inside[-1]
        seconds = (last_us - first_us) / US_PER_S
        # A process that ends without being waited for takes its time with it, hence no less than nothing.
        by_all, by_us = (max(after - before, 0) / seconds for before, after in zip(before_s, after_s, strict=True))
        return CoresBusy(by_all, by_us)


def _core_seconds() -> tuple[float, float]:
    return _all_core_seconds(), sum(_core_seconds_of(pid) for pid in _family(os.getpid()))


def _all_core_seconds() -> float:
    allowed = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    ticks = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in allowed:
            ticks += sum(map(int, fields[_ALL])) - sum(map(int, fields[_IDLE]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _family(pid: int) -> Iterator[int]:
    """A process and all that came from it and live."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it ended between two looks, here and below
            for child in task.read_text().split():
                yield from _family(int(child))


def _core_seconds_of(pid: int) -> float:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[_OWN])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
