"""What a device worker and a handler's process say to each other."""

import msgspec

from fastgshare.node_manager.core.handler_calls import Stage
from fastgshare.node_manager.ipc.frames import Dialect
from fastgshare.shared.errors import ErrorBody
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.messages import Tensor
from fastgshare.shared.typed import msgpack_decoder


class Load(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Worker → host, once, first: make this class, within these bounds.

    `directory` holds the unpacked bundle; `note` is the file in which the host tells what it is running (`Note`).
    `memory_limit_mib` is on top of what the process uses when it starts; no `cpus` means any.
    """

    directory: str
    note: str
    module: str
    class_name: str
    function: str
    memory_limit_mib: int
    model_metadata: dict[str, str]
    model_inputs: tuple[TensorSpec, ...]
    model_outputs: tuple[TensorSpec, ...]
    cpus: tuple[int, ...] = ()


class Loaded(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Host → worker: the handler is made; what its callers send and get. `streams`: its postprocess is a generator."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    streams: bool = False


class LoadFailed(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Host → worker: the handler cannot be made, in words for its author."""

    reason: str


class Call(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Worker → host: run one stage of one request. Answered by one `Done` or `Failed` with the same `id`; by a
    generator's `Part`s before that."""

    id: int
    stage: Stage
    deadline_us: int
    tensors: tuple[Tensor, ...]


class Done(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Host → worker: what the stage gave."""

    id: int
    tensors: tuple[Tensor, ...]


class Part(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Host → worker: what a generator yielded. The next follows `Next`, so a slow caller holds its own stream up."""

    id: int
    tensors: tuple[Tensor, ...]


class Next(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Worker → host: the last part is on its way; make another."""

    id: int


class Drop(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Worker → host: nobody waits for this call any more. `Done` ends it, unless its answer is on the way already."""

    id: int


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Host → worker: why the stage gave nothing."""

    id: int
    error: ErrorBody


ToHost = Load | Call | Next | Drop
FromHost = Loaded | LoadFailed | Part | Done | Failed

WORKER_END: Dialect[ToHost, FromHost] = Dialect(msgpack_decoder(FromHost))
HOST_END: Dialect[FromHost, ToHost] = Dialect(msgpack_decoder(ToHost))
