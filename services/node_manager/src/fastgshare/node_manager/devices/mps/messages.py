"""What a device and the process of one replica say to each other: one request, one answer, in turn."""

import msgspec

from fastgshare.node_manager.devices.mps.area import Placed
from fastgshare.node_manager.devices.ports import ModelInfo
from fastgshare.node_manager.ipc.frames import Dialect
from fastgshare.shared.ids import Digest
from fastgshare.shared.typed import msgpack_decoder
from fastgshare.shared.units import BYTES_PER_MIB

MAX_FRAME_BYTES = 16 * BYTES_PER_MIB  # large tensors go another way


class Load(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Device → process, once, first: make this model ready.

    `opener` is what makes it (`module:function`, taking this message and giving an `OpenModel`); `cores` are the
    processors to keep to, none means any. The model's fields are those of `StoredModel`.
    """

    opener: str
    digest: Digest
    path: str
    format: str
    factory: str
    cores: tuple[int, ...]
    max_batch: int


class Loaded(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Process → device: ready. `allocated_mib` is what its allocator took of the GPU, 0 where it computes on cores."""

    info: ModelInfo
    weights_mib: float
    allocated_mib: float


class LoadFailed(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Process → device: why there is no model; the process ends."""

    reason: str


class Run(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Device → process: one batch. Answered by `Finished` or `RunFailed` with the same `id`."""

    id: int
    inputs: tuple[Placed, ...]


class Finished(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Process → device: a batch's outputs, and how long it computed."""

    id: int
    outputs: tuple[Placed, ...]
    device_us: int


class RunFailed(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Process → device: why a batch gave nothing.

    `is_input`: its caller is to blame. `is_last`: the process cannot compute any more and ends.
    """

    id: int
    reason: str
    is_input: bool = False
    is_last: bool = False


class End(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Device → process: let the GPU finish, let go of everything, end with status 0."""


ToProcess = Load | Run | End
FromProcess = Loaded | LoadFailed | Finished | RunFailed

DEVICE_END: Dialect[ToProcess, FromProcess] = Dialect(msgpack_decoder(FromProcess), MAX_FRAME_BYTES)
PROCESS_END: Dialect[FromProcess, ToProcess] = Dialect(msgpack_decoder(ToProcess), MAX_FRAME_BYTES)
