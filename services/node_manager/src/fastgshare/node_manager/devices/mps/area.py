"""Tensors between a device and the process of one replica: small ones in the message, large ones in shared memory.

An area is an anonymous file (memfd_create(2)) that both ends hold open; nobody else can name it. The device only reads
and writes it, so that a process which cuts it off costs itself an error and not the device a SIGBUS; the process, which
trusts its device, maps it and sees the inputs where they lie. A batch's outputs come after its inputs.
"""

import mmap
import os
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
from msgspec.structs import replace

from fastgshare.shared.arrays import Array, array_bytes, datatype_of, to_array
from fastgshare.shared.errors import FastGShareError
from fastgshare.shared.messages import Tensor
from fastgshare.shared.slots import INLINE_LIMIT_BYTES
from fastgshare.shared.units import BYTES_PER_MIB

MAX_AREA_BYTES = 1024 * BYTES_PER_MIB
ALIGNMENT_BYTES = 64
_NOTHING = memoryview(b"")


class AreaUnusable(FastGShareError):
    """Tensors cannot be put there, or are not where a message says: field `reason`."""


class Placed(msgspec.Struct, frozen=True, array_like=True):
    """A tensor: its bytes in `data`, or `size_bytes` at `offset_bytes` of the area where `in_area`."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: memoryview = _NOTHING
    in_area: bool = False
    offset_bytes: int = 0
    size_bytes: int = 0


class Area:
    """One end of it. `fd` is the area's own from here on."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map: mmap.mmap | None = None

    def put(self, arrays: Mapping[str, Array], start_bytes: int = 0) -> tuple[Placed, ...]:
        """Tensors as they travel; those for the area lie from `start_bytes` on.

        Raises:
            ValueError: numpy has a type for one of them that no tensor has.
            AreaUnusable: they are too large, or shared memory is full.
        """
        data = {name: array_bytes(array) for name, array in arrays.items()}
        is_large = sum(view.nbytes for view in data.values()) > INLINE_LIMIT_BYTES
        placed: list[Placed] = []
        offset = start_bytes
        for name, array in arrays.items():
            tensor = Placed(name, datatype_of(array), tuple(array.shape), data[name])
            if is_large and data[name].nbytes:
                tensor = self._write(tensor, offset)
                offset = _aligned(offset + tensor.size_bytes)
            placed.append(tensor)
        return tuple(placed)

    def copy(self, placed: Iterable[Placed]) -> dict[str, Array]:
        """Arrays of their own, from what somebody says who is not trusted.

        Raises AreaUnusable: they are not there, or the bytes do not make such tensors.
        """
        try:
            return {each.name: _array(each, self._read(each)) for each in placed}
        except ValueError as error:
            raise AreaUnusable(reason=str(error)) from error

    def view(self, placed: Iterable[Placed]) -> dict[str, Array]:
        """Arrays that lie in the area, good until something else is put there. Raises AreaUnusable, ValueError."""
        return {each.name: _array(each, self._mapped(each)) for each in placed}

    def close(self) -> None:
        """Let go of this end; arrays that were seen there stay good."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        self._map = None

    def _write(self, tensor: Placed, offset_bytes: int) -> Placed:
        size = tensor.data.nbytes
        if offset_bytes + size > MAX_AREA_BYTES:
            limit_mib = MAX_AREA_BYTES // BYTES_PER_MIB
            raise AreaUnusable(reason=f"the tensors of a batch may take {limit_mib} MiB, these take more")
        done = 0
        try:
            while done < size:
                done += os.pwrite(self.fd, tensor.data[done:], offset_bytes + done)
        except OSError as error:
            raise AreaUnusable(reason=f"shared memory cannot be written: {error.strerror}") from error
        return replace(tensor, data=_NOTHING, in_area=True, offset_bytes=offset_bytes, size_bytes=size)

    def _read(self, placed: Placed) -> memoryview:
        if not placed.in_area:
            return placed.data
        self._check(placed)
        data = np.empty(placed.size_bytes, np.uint8).data  # bytearray would write zeros there first
        done = 0
        while done < placed.size_bytes:
            count = os.preadv(self.fd, [data[done:]], placed.offset_bytes + done)
            if count == 0:
                raise AreaUnusable(reason="the shared memory was cut off while it was read")
            done += count
        return data

    def _mapped(self, placed: Placed) -> memoryview:
        if not placed.in_area:
            return placed.data
        self._check(placed)
        end = placed.offset_bytes + placed.size_bytes
        if self._map is None or len(self._map) < end:
            self._map = mmap.mmap(self.fd, os.fstat(self.fd).st_size)
        return memoryview(self._map)[placed.offset_bytes : end]

    def _check(self, placed: Placed) -> None:
        end = placed.offset_bytes + placed.size_bytes
        if min(placed.offset_bytes, placed.size_bytes) < 0 or end > os.fstat(self.fd).st_size or end > MAX_AREA_BYTES:
            raise AreaUnusable(reason=f"tensor '{placed.name}' is said to lie where there is no shared memory")


def make_area() -> Area:
    """A new area; its other end is made of the same file in the other process."""
    return Area(os.memfd_create("fastgshare-replica"))


def end_of(placed: Iterable[Placed]) -> int:
    """Where the area is free behind these tensors."""
    return max((_aligned(each.offset_bytes + each.size_bytes) for each in placed), default=0)


def _array(placed: Placed, data: memoryview) -> Array:
    return to_array(Tensor(placed.name, placed.datatype, placed.shape, data))


def _aligned(offset_bytes: int) -> int:
    return (offset_bytes + ALIGNMENT_BYTES - 1) // ALIGNMENT_BYTES * ALIGNMENT_BYTES
