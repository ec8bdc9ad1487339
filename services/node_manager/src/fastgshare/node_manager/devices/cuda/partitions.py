"""SMs in partitions: ONE split at the opening, and every partition a set of its chunks.

Chunks are disjoint within one split call only, so the split is made once and kept; a partition is a green context over
some of its chunks, shared by all streams on just these. A context goes with its last stream, in the order that the
driver asks for: drain, destroy the stream, then the context. Spare SMs of the split belong to nobody.
"""

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from fastgshare.node_manager.devices.cuda import driver
from fastgshare.node_manager.devices.cuda.driver import DeviceHandle, GreenContext, Resource, Stream
from fastgshare.node_manager.devices.cuda.errors import CudaSticky

CHUNK_SMS = 8  # the smallest partition of sm_90; elsewhere the driver rounds up

Chunks = tuple[int, ...]


class Split(NamedTuple):
    """A device's SMs, cut once."""

    chunks: tuple[Resource, ...]
    sms: tuple[int, ...]  # of each chunk
    spare_sms: int
    total_sms: int


def split_device(device: DeviceHandle) -> Split:
    """Cut a device into chunks, to be done once in a process's life. Raises CudaFault."""
    whole = driver.sm_resource(device)
    groups = driver.count_split(whole, CHUNK_SMS)
    chunks, rest = driver.split(whole, groups, CHUNK_SMS)
    sms = tuple(driver.sm_count(chunk) for chunk in chunks)
    total_sms = driver.sm_count(whole)
    return Split(chunks, sms, driver.sm_count(rest) if sum(sms) < total_sms else 0, total_sms)


@dataclass(slots=True)
class _Partition:
    context: GreenContext
    streams: int = 0


@dataclass(slots=True, eq=False, weakref_slot=True)
class PartitionStream:
    """A stream on the SMs of some chunks; `number` is its handle for other libraries."""

    chunks: Chunks
    sms: int
    stream: Stream
    number: int
    _owner: "Partitions" = field(repr=False)
    _is_open: bool = True

    def close(self) -> None:
        """Drain and destroy it, and the partition with its last stream. Idempotent; does nothing on a lost device."""
        if self._is_open:
            self._is_open = False
            with suppress(CudaSticky):
                driver.synchronize(self.stream)
                driver.destroy_stream(self.stream)
                self._owner.let_go(self.chunks)


class Partitions:
    """The partitions of one device that are in use. Thread-safe."""

    def __init__(self, device: DeviceHandle, split: Split) -> None:
        self._device = device
        self._split = split
        self._lock = threading.Lock()
        self._live: dict[Chunks, _Partition] = {}

    def sms(self, chunks: Chunks) -> int:
        """How many SMs these chunks have."""
        return sum(self._split.sms[chunk] for chunk in chunks)

    def open_stream(self, chunks: Chunks) -> PartitionStream:
        """A new stream on these chunks. Raises CudaFault."""
        chunks = tuple(sorted(set(chunks)))
        with self._lock:
            partition = self._live.get(chunks)
            if partition is None:
                resources = [self._split.chunks[chunk] for chunk in chunks]
                partition = self._live[chunks] = _Partition(driver.create_green(self._device, resources))
            try:
                stream = driver.create_stream(partition.context)
            except BaseException:
                self._drop_unused(chunks)
                raise
            partition.streams += 1
        return PartitionStream(chunks, self.sms(chunks), stream, driver.stream_number(stream), self)

    def let_go(self, chunks: Chunks) -> None:
        """A stream on these chunks was destroyed. Raises CudaFault."""
        with self._lock:
            self._live[chunks].streams -= 1
            self._drop_unused(chunks)

    def _drop_unused(self, chunks: Chunks) -> None:
        partition = self._live[chunks]
        if not partition.streams:
            del self._live[chunks]
            driver.destroy_green(partition.context)
