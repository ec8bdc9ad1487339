"""A whole platform in processes of its own, as `fastgshare up` runs it, and who is who among them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import msgspec
import psutil

from fastgshare.cli.up.config import UpConfig
from fastgshare.cli.up.data_dir import Endpoints
from fastgshare.client.location import ENDPOINTS_FILE

LAUNCHER = Path(__file__).parents[1] / "up" / "launcher.py"
NATS = "nats-server"
GATEWAY, SCHEDULER, PROFILER, NODE_MANAGER, WORKER, HANDLER = (
    "fastgshare.gateway",
    "fastgshare.scheduler",
    "fastgshare.profiler",
    "fastgshare.node_manager",
    "fastgshare.node_manager.worker",
    "fastgshare.node_manager.handler_host",
)
START_S = 50.0
PROFILER_SETTINGS = {"FASTGSHARE_BUDGET_MS": "150", "FASTGSHARE_OPEN_MS": "150"}
"""Points are measured for less time than anybody would outside of tests."""
STOP_S = 30.0
POLL_S = 0.02


class World:
    """One life of a platform on a data directory. Made by `running`."""

    def __init__(self, data_dir: Path, up: "subprocess.Popen[bytes]", endpoints: Endpoints) -> None:
        self.data_dir = data_dir
        self.up = up
        self.nats_url = endpoints.nats_url
        self.http_urls = endpoints.http_urls
        self.grpc_address = endpoints.grpc_addresses[0]
        self.gateway_pids = set(self.pids(GATEWAY))

    @property
    def http_url(self) -> str:
        """The first gateway."""
        return self.http_urls[0]

    def pids(self, program: str) -> list[int]:
        """The processes that run `program` now, oldest first."""
        family = psutil.Process(self.up.pid).children(recursive=True)
        found = [process for process in family if _runs(process, program)]
        return [process.pid for process in sorted(found, key=lambda process: (process.create_time(), process.pid))]

    def kill(self, program: str, index: int = 0, sig: signal.Signals = signal.SIGKILL) -> int:
        """`kill -9`; the pid that was."""
        pid = self.pids(program)[index]
        psutil.Process(pid).send_signal(sig)
        return pid

    def lose_power(self) -> None:
        """Everything ends at once, as when the machine does."""
        family = psutil.Process(self.up.pid).children(recursive=True)
        self.up.send_signal(signal.SIGKILL)
        self.up.wait(STOP_S)
        wait_until(lambda: not any(_is_alive(process) for process in family))

    def slots(self) -> list[str]:
        """Shared memory that our gateways hold."""
        self.gateway_pids |= set(self.pids(GATEWAY))
        return slots_of(self.gateway_pids)

    def log(self, service: str) -> str:
        """What a service has written in this life."""
        return (self.data_dir / "logs" / f"{service}.log").read_text(errors="replace")


@contextmanager
def running(
    data_dir: Path,
    gateways: int = 1,
    schedulers: int = 1,
    device: str = "cpu",
    env: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[World]:
    """A platform that serves on ports nobody else has; after it nothing of it runs or lies in shared memory.

    `env` holds settings for all of its services.
    """
    config = UpConfig(
        data_dir=data_dir, nats_port=0, http_port=0, gateways=gateways, schedulers=schedulers, device=device
    )
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "up.log").open("ab") as log:
        argv = [sys.executable, str(LAUNCHER), msgspec.json.encode(config, enc_hook=str).decode()]
        up = subprocess.Popen(
            argv, env={**os.environ, **PROFILER_SETTINGS, **env}, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        world = World(data_dir, up, _endpoints(data_dir, up))
        yield world
        if up.poll() is None:
            pids = world.gateway_pids | set(world.pids(GATEWAY))
            assert _stop(up) == 0, _last_words(data_dir)
            assert slots_of(pids) == []
    finally:
        if up.poll() is None:
            _stop(up)


def wait_until(condition: Callable[[], object], patience_s: float = START_S) -> None:
    """Return once it holds."""
    deadline_s = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(POLL_S)


def slots_of(pids: set[int]) -> list[str]:
    """Shared memory of these processes."""
    return [path.name for pid in pids for path in Path("/dev/shm").glob(f"fastgshare-{pid}-*")]


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _runs(process: psutil.Process, program: str) -> bool:
    try:
        argv = process.cmdline()
    except psutil.Error:
        return False
    return bool(argv) and (program in argv or Path(argv[0]).name == program)


def _endpoints(data_dir: Path, up: "subprocess.Popen[bytes]") -> Endpoints:
    """Where it serves, once it does; a file left behind by a killed life names another process."""
    deadline_s = time.monotonic() + START_S
    while True:
        try:
            endpoints = msgspec.json.decode((data_dir / ENDPOINTS_FILE).read_bytes(), type=Endpoints)
            if endpoints.pid == up.pid:
                return endpoints
        except FileNotFoundError:
            pass
        assert up.poll() is None, _last_words(data_dir)
        assert time.monotonic() < deadline_s, _last_words(data_dir)
        time.sleep(POLL_S)


def _stop(up: "subprocess.Popen[bytes]") -> int:
    up.send_signal(signal.SIGTERM)
    try:
        return up.wait(STOP_S)
    except subprocess.TimeoutExpired:
        up.kill()
        return up.wait()


def _last_words(data_dir: Path) -> str:
    logs = [data_dir / "up.log", *sorted((data_dir / "logs").glob("*.log"))]
    return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in logs if log.exists())
