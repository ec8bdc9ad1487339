"""The two ports that hardware and model formats stand behind."""

from pathlib import Path
from typing import Protocol

import msgspec

from fastgshare.shared.arrays import Array
from fastgshare.shared.handler import TensorSpec


class Device(Protocol):
    """Something that replicas share in chunks: cores of a CPU, groups of SMs of a GPU.

    `kind` is the key of profiles: devices of one kind run a model equally fast.
    """

    kind: str
    chunks: int
    memory_mib: int

    def enter(self, chunks: tuple[int, ...]) -> None:
        """Bind the calling thread, and the threads it makes from now on, to these chunks."""
        ...


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a loaded model says of itself; -1 marks a free axis."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: dict[str, str]

    @property
    def is_batched(self) -> bool:
        """Whether the leading axis of every input and output is free, so that requests can run as one batch."""
        tensors = (*self.inputs, *self.outputs)
        return bool(self.inputs) and all(spec.shape[:1] == (-1,) for spec in tensors)


class Session(Protocol):
    """A model loaded on the calling thread's chunks. Used by one thread."""

    info: ModelInfo

    def run(self, feed: dict[str, Array]) -> dict[str, Array]:
        """One batch: inputs by name to outputs by name. Raises ModelFault, InputUnusable among them."""
        ...


class Runtime(Protocol):
    """Loads models of one format."""

    def load(self, path: Path, cores: int) -> Session:
        """A session that computes on `cores` threads. Raises ModelFault."""
        ...
