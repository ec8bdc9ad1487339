"""What the tests of `up` share: a configuration with fake services, and what still runs of it."""

import time
from collections.abc import Callable
from pathlib import Path

import psutil

from fastgshare.cli.up.config import PROGRAMS, UpConfig

FAKE = Path(__file__).with_name("fake_service.py")
PATIENCE_S = 30.0
POLL_S = 0.02


def fake_config(data_dir: Path, **behaviours: str) -> UpConfig:
    """Fake services on any free ports; `gateway="broken"` lets one misbehave."""
    programs: dict[str, tuple[str, ...]] = {name: (str(FAKE), name, behaviours.get(name, "")) for name in PROGRAMS}
    return UpConfig(data_dir=data_dir, nats_port=0, http_port=0, programs=programs)


def still_running(data_dir: Path) -> list[psutil.Process]:
    """Processes that were started for a platform on `data_dir`."""
    return [process for process in psutil.process_iter() if _belongs(process, str(data_dir))]


def wait_until(condition: Callable[[], bool]) -> None:
    """Return once it holds."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(POLL_S)


def _belongs(process: psutil.Process, data_dir: str) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        mentions = [*process.cmdline(), process.environ().get("FASTGSHARE_DATA_DIR", "")]
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
    return any(data_dir in mention for mention in mentions)
