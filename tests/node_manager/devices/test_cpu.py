"""The cpu device: chunks are cores, and threads stay on theirs."""

import os
import threading

from fastgshare.node_manager.devices.cpu import CpuDevice, cpu_kind
from fastgshare.shared.ids import is_name


def test_every_core_this_process_may_use_is_a_chunk() -> None:
    assert CpuDevice().chunks == len(os.sched_getaffinity(0))


def test_the_number_of_cores_can_be_limited() -> None:
    assert CpuDevice(cores=1).chunks == 1


def test_its_kind_can_be_part_of_a_key() -> None:
    assert is_name(cpu_kind())


def test_a_thread_that_enters_chunks_runs_on_their_cores_alone() -> None:
    device = CpuDevice()
    before = os.sched_getaffinity(0)
    seen: list[set[int]] = []

    def run() -> None:
        device.enter((device.chunks - 1,))
        seen.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [{max(before)}]
    assert os.sched_getaffinity(0) == before
