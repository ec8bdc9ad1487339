"""Facts about where a figure was measured, and what the platform's processes hold in memory."""

import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import anyio
from nats.aio.msg import Msg

from fastgshare.cli.up.embedded import find_server
from fastgshare.cli.up.platform import Platform
from fastgshare.shared import subjects
from fastgshare.shared.bus import BusConfig, open_bus
from fastgshare.shared.codec import decode
from fastgshare.shared.messages import NodeStatus
from fastgshare.shared.service import rss_mib

PACKAGES = ("nats-py", "uvloop", "msgspec", "onnxruntime", "numpy", "fastapi", "uvicorn", "starlette", "httptools")
HEARTBEAT_TIMEOUT_S = 10.0
NS_PER_US = 1_000


def facts() -> dict[str, object]:
    """Cores, versions, and the processor's name."""
    server = subprocess.run([find_server(), "--version"], capture_output=True, text=True, check=True)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu_name(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "nats-server": server.stdout.strip().rpartition("v")[2],
        **{package: version(package) for package in PACKAGES},
    }


def resident_mib(pids: dict[str, int]) -> dict[str, float]:
    """Resident memory of each process."""
    return {name: round(rss_mib(pid), 1) for name, pid in pids.items()}


def cpu_us(pids: dict[str, int]) -> dict[str, float]:
    """Processor time of each process so far, in microseconds: all its threads, as the scheduler counts them."""
    return {name: _cpu_us(pid) for name, pid in pids.items()}


async def pids_of(running: Platform) -> dict[str, int]:
    """Every child of the platform, and the device workers of its node."""
    return {**running.pids(), **await _workers(running.endpoints.nats_url)}


async def _workers(nats_url: str) -> dict[str, int]:
    workers: dict[str, int] = {}
    known = anyio.Event()

    async def on_status(msg: Msg) -> None:
        for index, device in enumerate(decode(NodeStatus, msg.data).devices):
            if device.worker_pid:
                workers["worker" if index == 0 else f"worker-{index + 1}"] = device.worker_pid
                known.set()

    async with open_bus(BusConfig(nats_url, "bench-status")) as bus:
        await bus.subscribe(subjects.NODE_STATUS_ALL, on_status)
        with anyio.fail_after(HEARTBEAT_TIMEOUT_S):
            await known.wait()
    return workers


def _cpu_us(pid: int) -> float:
    total_ns = 0
    for schedstat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):  # that thread ended
            total_ns += int(schedstat.read_text().split()[0])
    return total_ns / NS_PER_US


def _cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
