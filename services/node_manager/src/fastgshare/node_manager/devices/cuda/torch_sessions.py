"""Torch modules and exported programs on a partition: replayed from captured graphs, or eager where shapes vary.

A captured program has static buffers on both sides: a batch is copied into pinned memory, its unused rows zeroed so
that no answer depends on what ran before, and what comes back is copied out of it before the next batch runs.
"""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from fastgshare.node_manager.devices.cuda.partitions import PartitionStream
from fastgshare.node_manager.devices.cuda.ports import ANY_SHAPE, Program
from fastgshare.node_manager.devices.cuda.torch_placement import Placement, Tensors
from fastgshare.node_manager.devices.faults import MemoryRefused, ModelFault
from fastgshare.node_manager.devices.ports import StoredModel
from fastgshare.shared.arrays import DTYPES, Array
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.torch_bundle import TORCH_EXPORT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastgshare.node_manager.devices.torch_models import LoadedModule

WARM_UPS = 3  # lazy set-up of libraries and allocations, none of which a capture may see


class TorchEngine:
    """The `Engine` port for torch's two formats."""

    shares_weights = True

    def __init__(self, placement: Placement) -> None:
        self._placement = placement

    def load(self, model: StoredModel) -> "TorchModel":
        """Weights from the page cache through pinned memory; a program is moved by torch. Raises ModelFault."""
        from fastgshare.node_manager.devices.torch_models import LoadedModule, load_module

        with _told_apart():
            if model.format == TORCH_EXPORT:  # its constants know their device: only torch's own pass moves them
                return TorchModel(self._placement, load_module(model, self._placement.device))
            loaded = load_module(model)
            module = self._placement.bring(loaded.module)
            return TorchModel(self._placement, LoadedModule(module, loaded.info, loaded.weights_mib))


class TorchModel:
    """A module whose weights are on the device; every program of it reads them."""

    can_capture = True

    def __init__(self, placement: Placement, loaded: "LoadedModule") -> None:
        self.info = loaded.info
        self.weights_mib = loaded.weights_mib
        self._placement = placement
        self._loaded: LoadedModule | None = loaded

    def program(self, place: PartitionStream, rows: int) -> Program:
        """Captured for `rows`, eager for ANY_SHAPE. Raises ModelFault, MemoryRefused, CudaFault."""
        with _told_apart():
            if rows == ANY_SHAPE:
                return EagerProgram(self._placement, self, place)
            captured = CapturedProgram(self._placement, self, place, rows)
            captured.capture()
            return captured

    def forward(self, inputs: Tensors) -> Tensors:
        """The module's outputs by name, in the datatypes it declares. Raises ModelFault."""
        import torch

        if self._loaded is None:
            raise ModelFault(reason="its model was closed")
        with torch.no_grad():
            returned = self._loaded.module(*(inputs[spec.name] for spec in self.info.inputs))
        outputs = self._loaded.by_name(returned)
        return {spec.name: outputs[spec.name].to(torch_dtype(spec)) for spec in self.info.outputs}

    def close(self) -> None:
        """Free the weights."""
        self._loaded = None
        self._placement.trim()


class CapturedProgram:
    """A graph for batches of up to `rows` rows."""

    def __init__(self, placement: Placement, model: TorchModel, place: PartitionStream, rows: int) -> None:
        self._placement = placement
        self._model = model
        self._place = place
        self._rows = rows

    def capture(self) -> None:
        """Allocate, warm up, capture. Raises ModelFault, CudaFault, and what torch raises."""
        import torch

        shapes = {spec.name: self._shape(spec) for spec in self._model.info.inputs}
        dtypes = {spec.name: torch_dtype(spec) for spec in self._model.info.inputs}
        self._host_in = {name: self._placement.host_buffer(shapes[name], dtypes[name]) for name in shapes}
        self._into = {name: buffer.numpy() for name, buffer in self._host_in.items()}
        with self._placement.on(self._place):
            self._in = {
                name: torch.zeros(shapes[name], dtype=dtypes[name], device=self._placement.device) for name in shapes
            }
            for _ in range(WARM_UPS):
                outputs = self._model.forward(self._in)
                self._check(outputs)
        self._placement.settle(self._place)
        self._recorded = self._placement.record(lambda: self._model.forward(self._in), self._place)
        self._host_out = {
            name: self._placement.host_buffer(tuple(output.shape), output.dtype)
            for name, output in self._recorded.outputs.items()
        }

    def feed(self, feed: dict[str, Array]) -> None:
        """Into pinned memory, then onto the stream."""
        for name, buffer in self._into.items():
            array = feed[name]
            if self._model.info.is_batched:
                np.copyto(buffer[: len(array)], array)
                buffer[len(array) :] = 0
            else:
                np.copyto(buffer, array)
        with self._placement.on(self._place):
            for name, host in self._host_in.items():
                self._in[name].copy_(host, non_blocking=True)

    def launch(self) -> None:
        """Replay."""
        with self._placement.on(self._place):
            self._recorded.replay()

    def fetch(self) -> None:
        """The outputs into pinned memory."""
        with self._placement.on(self._place):
            for name, host in self._host_out.items():
                host.copy_(self._recorded.outputs[name], non_blocking=True)

    def outputs(self, rows: int) -> dict[str, Array]:
        """Copies: the next batch comes into the same memory."""
        last = rows if self._model.info.is_batched else None
        return {
            name: np.array(host.numpy()[:last] if host.ndim else host.numpy()) for name, host in self._host_out.items()
        }

    def close(self) -> None:
        """Free the graph, then the buffers it was captured with."""
        self._recorded.forget()
        self._in, self._into, self._host_in, self._host_out = {}, {}, {}, {}
        self._recorded.outputs.clear()
        self._placement.trim()

    def _shape(self, spec: TensorSpec) -> tuple[int, ...]:
        return (self._rows, *spec.shape[1:]) if self._model.info.is_batched else spec.shape

    def _check(self, outputs: Tensors) -> None:
        for name, output in outputs.items():
            if self._model.info.is_batched and (not output.ndim or output.shape[0] != self._rows):
                raise ModelFault(
                    reason=f"output '{name}' has shape {list(output.shape)} for a batch of {self._rows} rows"
                )


class EagerProgram:
    """A model whose shapes vary in more than rows, kernel by kernel."""

    def __init__(self, placement: Placement, model: TorchModel, place: PartitionStream) -> None:
        self._placement = placement
        self._model = model
        self._place = place
        self._in: Tensors = {}
        self._out: Tensors = {}
        self._back: dict[str, Array] = {}

    def feed(self, feed: dict[str, Array]) -> None:
        """Straight to the device; waits for the copies."""
        import torch

        with self._placement.on(self._place):
            self._in = {
                spec.name: torch.from_numpy(np.array(feed[spec.name])).to(self._placement.device)
                for spec in self._model.info.inputs
            }

    def launch(self) -> None:
        """Call the module."""
        with self._placement.on(self._place), _told_apart():
            self._out = self._model.forward(self._in)

    def fetch(self) -> None:
        """Wait for the outputs and bring them back."""
        with self._placement.on(self._place):
            self._back = {name: output.cpu().numpy() for name, output in self._out.items()}
        self._in, self._out = {}, {}

    def outputs(self, rows: int) -> dict[str, Array]:
        """What came back; `rows` of it, as they went in."""
        back, self._back = self._back, {}
        return back

    def close(self) -> None:
        """Nothing is kept between batches."""


def torch_dtype(spec: TensorSpec) -> Any:
    """Torch's type for a tensor."""
    import torch

    return torch.from_numpy(np.empty(0, DTYPES[spec.datatype])).dtype


@contextmanager
def _told_apart() -> "Iterator[None]":
    """Only torch knows that a failure was for want of memory."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryRefused(reason=error) from error
