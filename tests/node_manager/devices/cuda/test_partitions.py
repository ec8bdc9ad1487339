"""Partitions on the stub driver: disjoint chunks of one split, shared contexts, and the order of their end."""

import itertools

import pytest

from fastgshare.node_manager.devices.cuda.errors import CudaFault, CudaOutOfMemory
from tests.node_manager.devices.cuda.stub import Stub

pytest.importorskip("cuda.bindings", reason="the device is called through cuda-bindings, which is missing here")

from fastgshare.node_manager.devices.cuda import driver
from fastgshare.node_manager.devices.cuda.partitions import Partitions, split_device


@pytest.fixture
def partitions(stub: Stub) -> Partitions:
    driver.initialise()
    device = driver.device(0)
    driver.set_current(driver.retain_primary(device))
    return Partitions(device, split_device(device))


def made(stub: Stub) -> list[int]:
    """The chunk masks of all contexts made, in order."""
    return [int(line.split()[2], 16) for line in stub.log() if line.startswith("context+")]


def test_the_remainder_of_the_split_is_told_and_belongs_to_nobody(stub: Stub) -> None:
    driver.initialise()
    split = split_device(driver.device(0))
    assert split.sms == (8,) * 16
    assert split.spare_sms == 4
    assert split.total_sms == 132


def test_partitions_of_other_chunks_are_disjoint(stub: Stub, partitions: Partitions) -> None:
    streams = [partitions.open_stream(chunks) for chunks in ((0, 1), (2,), (3, 15))]
    assert [stream.sms for stream in streams] == [16, 8, 16]
    masks = made(stub)
    assert all(not a & b for a, b in itertools.combinations(masks, 2))
    assert masks == [0b11, 0b100, 0x8008]
    assert stub.count("splits") == 1


def test_the_same_chunks_in_another_order_are_the_same_partition(stub: Stub, partitions: Partitions) -> None:
    first, second = partitions.open_stream((0, 1)), partitions.open_stream((1, 0))
    assert stub.count("contexts") == 1
    assert first.number != second.number


def test_streams_are_drained_and_destroyed_before_their_context(stub: Stub, partitions: Partitions) -> None:
    first, second = partitions.open_stream((0,)), partitions.open_stream((0,))
    before = len(stub.log())
    first.close()
    first.close()
    second.close()
    assert [line.split()[0] for line in stub.log()[before:]] == ["drain", "stream-", "drain", "stream-", "context-"]
    assert not any("LEAKS" in line for line in stub.log())


def test_a_context_whose_first_stream_fails_does_not_stay(stub: Stub, partitions: Partitions) -> None:
    stub.fail("cuGreenCtxStreamCreate", 2)
    with pytest.raises(CudaOutOfMemory):
        partitions.open_stream((0,))
    assert stub.count("contexts") == 0
    partitions.open_stream((0,)).close()


def test_chunks_of_two_splits_do_not_make_a_partition(stub: Stub) -> None:
    """The stub keeps the driver's rule, so that the tests above mean something."""
    driver.initialise()
    device = driver.device(0)
    driver.retain_primary(device)
    first, second = split_device(device), split_device(device)
    with pytest.raises(CudaFault, match="INVALID_RESOURCE_CONFIGURATION"):
        driver.create_green(device, [first.chunks[0], second.chunks[1]])
