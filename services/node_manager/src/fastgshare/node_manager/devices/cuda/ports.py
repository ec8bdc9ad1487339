"""What computes on a partition: an engine per model format loads weights onto the device and makes programs of them.

The device decides where and when; an engine only how. Programs put work on the stream they are given and nowhere else,
because the default stream computes on every SM.
"""

from typing import Protocol

from fastgshare.node_manager.devices.cuda.partitions import PartitionStream
from fastgshare.node_manager.devices.ports import ModelInfo, StoredModel
from fastgshare.shared.arrays import Array

ANY_SHAPE = 0  # a program that takes batches as they come, and therefore is no captured graph


class Program(Protocol):
    """A model ready to run on one stream, for one batch size or for any."""

    def feed(self, feed: dict[str, Array]) -> None:
        """Put the inputs on the stream; unused rows are zero."""
        ...

    def launch(self) -> None:
        """Put the model's work on the stream."""
        ...

    def fetch(self) -> None:
        """Put the outputs' way back on the stream."""
        ...

    def outputs(self, rows: int) -> dict[str, Array]:
        """The first `rows` rows of every output, once the stream is done; they stay as they are."""
        ...

    def close(self) -> None:
        """Free the buffers and the graph."""
        ...


class DeviceModel(Protocol):
    """A model's weights on the device. Programs of it are made and run by different threads."""

    info: ModelInfo
    weights_mib: float
    can_capture: bool

    def program(self, place: PartitionStream, rows: int) -> Program:
        """A program for batches of `rows`, or of ANY_SHAPE. Raises ModelFault, MemoryRefused, CudaFault."""
        ...

    def close(self) -> None:
        """Free the weights."""
        ...


class Engine(Protocol):
    """Loads models of some formats onto one device. `shares_weights`: a second replica costs no second copy."""

    shares_weights: bool

    def load(self, model: StoredModel) -> DeviceModel:
        """Bring a model's weights onto the device. Raises ModelFault, MemoryRefused, CudaFault."""
        ...
