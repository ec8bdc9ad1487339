"""`fastgshare up` with the real services: all come up, come back, and leave nothing behind, device workers included."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil

from fastgshare.cli.up.config import UpConfig
from fastgshare.cli.up.platform import open_platform
from fastgshare.client.location import ENDPOINTS_FILE
from tests.up.scene import still_running, wait_until

LAUNCHER = Path(__file__).with_name("launcher.py")


def real_config(data_dir: Path) -> UpConfig:
    """Everything as a user gets it, on any free ports."""
    return UpConfig(data_dir=data_dir, nats_port=0, http_port=0, device="cpu")


def device_workers(data_dir: Path) -> list[psutil.Process]:
    """The device workers of the platform on `data_dir`."""
    return [process for process in still_running(data_dir) if "fastgshare.node_manager.worker" in process.cmdline()]


async def test_all_services_come_up_come_back_and_leave_nothing(tmp_path: Path) -> None:
    async with open_platform(real_config(tmp_path)) as platform:
        before = platform.pids()
        answers = await platform.roll_call()
        assert answers["gateway"].endpoints["http"] == platform.endpoints.http_url
        wait_until(lambda: len(device_workers(tmp_path)) == 1)
        for name in before:
            platform.kill(name)
        await platform.wait_ready()
        assert (await platform.roll_call(timeout_s=30)).keys() == before.keys() - {"nats"}
        assert not set(platform.pids().values()) & set(before.values())
    assert still_running(tmp_path) == []


def test_killing_it_takes_the_device_workers_along(tmp_path: Path) -> None:
    config = msgspec.json.encode(real_config(tmp_path), enc_hook=str)
    with subprocess.Popen([sys.executable, LAUNCHER, config], stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: (tmp_path / ENDPOINTS_FILE).exists() or process.poll() is not None)
            assert json.loads((tmp_path / ENDPOINTS_FILE).read_text())["pid"] == process.pid
            wait_until(lambda: len(device_workers(tmp_path)) == 1)
        finally:
            os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: still_running(tmp_path) == [])
