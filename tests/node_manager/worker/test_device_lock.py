"""A device has one worker at a time."""

import os
from pathlib import Path

import anyio
import pytest

from fastgshare.node_manager.devices.faults import DeviceUnavailable
from fastgshare.node_manager.worker.device_lock import hold_device


async def test_the_next_waits_until_the_former_has_let_go(tmp_path: Path) -> None:
    order: list[str] = []

    async def second() -> None:
        async with hold_device("n-cpu0", tmp_path):
            order.append("second")

    async with anyio.create_task_group() as tasks, hold_device("n-cpu0", tmp_path):
        tasks.start_soon(second)
        await anyio.sleep(0.05)
        order.append("first lets go")
    assert order == ["first lets go", "second"]


async def test_one_that_does_not_end_is_told_with_its_process(tmp_path: Path) -> None:
    async with hold_device("n-cpu0", tmp_path):
        with pytest.raises(DeviceUnavailable, match=f"process {os.getpid()} has held it for 0.05 s"):
            async with hold_device("n-cpu0", tmp_path, patience_s=0.05):
                pytest.fail("two hold it")
        async with hold_device("n-cpu1", tmp_path, patience_s=0.05):
            pass  # another device is nobody's


async def test_it_can_be_held_again_after_it_was_let_go(tmp_path: Path) -> None:
    for _ in range(2):
        async with hold_device("n-cpu0", tmp_path, patience_s=0.05):
            pass
