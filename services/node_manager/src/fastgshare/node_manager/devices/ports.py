"""The ports that hardware and model formats stand behind.

A `Device` is shared by replicas in chunks. A replica opens one `Session` on it, on the thread that will run it; a
session computes on its chunks only, and only while its caller holds a token for them. Weights are the device's:
one copy by content, shared by all sessions of a model. A `Runtime` loads models of one format into host memory.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from fastgshare.shared.arrays import Array
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import Digest, ReplicaId
from fastgshare.shared.messages import ModelOnDevice


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model as it lies on this host: its content's digest, the file, its format and, where the format needs one,
    what in it makes the model (`module:factory`)."""

    digest: Digest
    path: Path
    format: str
    factory: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    """A replica's place on a device: chunk indices in rising order, its memory budget, the most rows of a batch.

    Whatever computes on the chunks outside of `Session.run`, such as a warm-up, does so within a `turn`, in pieces as
    small as it can: a turn waits for a token and holds it.
    """

    replica: ReplicaId
    chunks: tuple[int, ...]
    memory_mib: int
    max_batch: int = 1
    turn: Callable[[], AbstractContextManager[None]] = nullcontext


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a loaded model says of itself; -1 marks a free axis.

    `axes` names axes of inputs, "" where one has no name: those of one name are of one length.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: dict[str, str]
    axes: dict[str, tuple[str, ...]] = {}

    @property
    def is_batched(self) -> bool:
        """Whether the leading axis of every input and output is free, so that requests can run as one batch."""
        tensors = (*self.inputs, *self.outputs)
        return bool(self.inputs) and all(spec.shape[:1] == (-1,) for spec in tensors)


class Ran(NamedTuple):
    """One batch's outputs by name, and how long the device was busy with it, in microseconds."""

    outputs: dict[str, Array]
    device_us: int


class Footprint(NamedTuple):
    """What a session's opening took: weights shared by all sessions of the model and memory of its own, in MiB.

    `was_loaded`: the weights were on the device already and were neither read nor copied again.
    """

    weights_mib: float
    own_mib: float
    was_loaded: bool


class Session(Protocol):
    """A model ready to run on a replica's chunks.

    Used by one thread at a time; by the thread that opened it alone, unless `is_portable`. `is_on_cores`: its chunks
    are the cores of that thread, so that whatever the thread does under its token is device time.
    """

    info: ModelInfo
    footprint: Footprint
    is_portable: bool
    is_on_cores: bool

    def run(self, feed: dict[str, Array]) -> Ran:
        """One batch. Raises ModelFault (InputUnusable among them), DeviceLost."""
        ...

    def move(self, chunks: tuple[int, ...]) -> None:
        """Compute on these chunks from the next run on. Raises ModelFault, DeviceLost."""
        ...

    def close(self) -> None:
        """Let go of everything of its own, and of the weights if nobody else holds them. Idempotent."""
        ...


class DeviceState(NamedTuple):
    """A device as it is now: whether it can serve and why not, its memory, the models on it, its own gauges."""

    healthy: bool
    reason: str
    used_mib: float
    models: tuple[ModelOnDevice, ...]
    gauges: dict[str, float]


class Device(Protocol):
    """Something that replicas share in chunks: cores of a CPU, groups of SMs of a GPU.

    `kind` is the key of profiles: devices of one kind run a model equally fast. `sms` are the SMs (cores, on a CPU)
    that the chunks are in all. Methods may be called from any thread.
    """

    kind: str
    chunks: int
    sms: int
    memory_mib: int

    def open_session(self, model: StoredModel, lane: Lane) -> Session:
        """Bring a replica up on the calling thread.

        Raises:
            ModelFault: the model does not load.
            MemoryRefused: it does not fit what the lane or the device has left; says the numbers.
            DeviceLost: the device cannot serve any more.
        """
        ...

    def state(self) -> DeviceState:
        """A look at the device; never raises and never blocks for long."""
        ...

    def close(self) -> None:
        """Let go of the device; sessions are closed before. Idempotent."""
        ...


class HostModel(Protocol):
    """A model's weights in this process's memory, from which sessions on cores are made."""

    info: ModelInfo

    @property
    def weights_mib(self) -> float:
        """How much memory the weights take now."""
        ...

    def session(self, cores: int) -> "HostSession":
        """Computes on the calling thread and as many more as make `cores`. Thread-safe. Raises ModelFault."""
        ...

    def close(self) -> None:
        """Free the weights; sessions of it are closed before."""
        ...


class HostSession(Protocol):
    """A model bound to a number of threads, which inherit the affinity of the thread that made it.

    `is_portable`: any one thread may call it, not only the one that made it.
    """

    is_portable: bool

    def run(self, feed: dict[str, Array]) -> dict[str, Array]:
        """One batch: inputs by name to outputs by name. Raises ModelFault, InputUnusable among them."""
        ...

    def close(self) -> None:
        """End its threads and free its buffers."""
        ...


class Runtime(Protocol):
    """Loads models of one format into host memory."""

    def load(self, model: StoredModel) -> HostModel:
        """Read a model. Raises ModelFault."""
        ...
