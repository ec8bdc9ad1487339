"""A device whose processes compute on cores, under a control daemon that is a script."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fastgshare.node_manager.devices.mps.device import MpsDevice, open_mps
from fastgshare.node_manager.devices.mps.process import Limits
from tests.node_manager.devices.mps.fake_control import FakeControl, fake_control
from tests.node_manager.devices.mps.toy import OPENERS

ROOT = Path(__file__).parents[4]
LIMITS = Limits(load_s=30.0, run_s=30.0, drain_s=20.0)
OpenDevice = Callable[..., MpsDevice]


@pytest.fixture
def control(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> FakeControl:
    directory = tmp_path_factory.mktemp("bin")
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_MPS_PIPE_DIRECTORY", raising=False)
    return fake_control(directory)


@pytest.fixture
def open_device(
    control: FakeControl, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OpenDevice]:
    """Opens devices for toys, with other settings where they are given, and closes them after the test."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    logging.getLogger("fastgshare").setLevel(logging.INFO)
    with ExitStack() as stack:

        def open_one(**settings: object) -> MpsDevice:
            directory = tmp_path_factory.mktemp("m")
            given = {"compute": "cpu", "context_mib": 10, "openers": OPENERS, "limits": LIMITS} | settings
            device = open_mps(0, directory, **given)  # type: ignore[arg-type]
            stack.callback(device.close)
            return device

        yield open_one


@pytest.fixture
def device(open_device: OpenDevice) -> MpsDevice:
    return open_device()
