"""Everything that torch has to be told about a GPU: which stream, pinned buffers, capture, and how weights get there.

torch's own green contexts split anew at every call, so that partitions overlap; torch only gets our streams. Streams,
contexts and buffers outlive the graphs that were captured on them.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

from fastgshare.node_manager.devices.cuda import driver
from fastgshare.node_manager.devices.cuda.gate import Gemm, Matrix
from fastgshare.node_manager.devices.cuda.partitions import PartitionStream
from fastgshare.shared.units import BYTES_PER_MIB

if TYPE_CHECKING:
    import torch
    from torch.nn import Module

STAGE_BYTES = 32 * BYTES_PER_MIB

Tensors = dict[str, "torch.Tensor"]


class Recorded(NamedTuple):
    """Work that can be done again: `replay` puts it on its stream and leaves its results in `outputs`."""

    replay: Callable[[], None]
    outputs: Tensors
    forget: Callable[[], None]


class Placement(Protocol):
    """Where torch computes. `device` is torch's name for it."""

    device: str

    def bring(self, module: "Module") -> "Module":
        """Copy a module's weights from the host to the device."""
        ...

    def on(self, place: PartitionStream) -> AbstractContextManager[Any]:
        """What the calling thread does inside goes onto the place's stream."""
        ...

    def host_buffer(self, shape: tuple[int, ...], dtype: "torch.dtype") -> "torch.Tensor":
        """Host memory that the device copies from and to by itself."""
        ...

    def settle(self, place: PartitionStream) -> None:
        """Wait for the place's stream."""
        ...

    def record(self, work: Callable[[], Tensors], place: PartitionStream) -> Recorded:
        """Capture work on the place's stream. The caller holds the capture lock and has warmed up."""
        ...

    def trim(self) -> None:
        """Give memory that torch keeps for later back to the device."""
        ...


class Span(NamedTuple):
    """Part of a tensor's bytes, and the staging buffer it goes through."""

    start: int
    stop: int
    stage: int


def spans(size_bytes: int, stage_bytes: int, stages: int) -> Iterator[Span]:
    """How a tensor goes through staging buffers that take turns."""
    for turn, start in enumerate(range(0, size_bytes, stage_bytes)):
        yield Span(start, min(start + stage_bytes, size_bytes), turn % stages)


class CudaPlacement:
    """Torch on one GPU."""

    def __init__(self, index: int) -> None:
        self.device = f"cuda:{index}"
        self._pools: WeakKeyDictionary[PartitionStream, Any] = WeakKeyDictionary()

    def bring(self, module: "Module") -> "Module":
        """Copy weights through pinned memory, on a stream of their own; those that are shared stay shared."""
        torch = _torch()
        stream = torch.cuda.Stream(self.device)
        pinned = [torch.empty(STAGE_BYTES, dtype=torch.uint8, pin_memory=True) for _ in range(2)]
        events = [torch.cuda.Event() for _ in pinned]
        moved: dict[tuple[object, ...], Any] = {}

        def move(tensor: Any) -> Any:
            key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
            if key not in moved:
                moved[key] = torch.empty(tensor.shape, dtype=tensor.dtype, device=self.device)
                source = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
                target = moved[key].reshape(-1).view(torch.uint8)
                for start, stop, turn in spans(source.numel(), STAGE_BYTES, len(pinned)):
                    events[turn].synchronize()
                    stage = pinned[turn][: stop - start]
                    stage.copy_(source[start:stop])
                    target[start:stop].copy_(stage, non_blocking=True)
                    events[turn].record(stream)
            return moved[key]

        with torch.cuda.stream(stream):
            # `_apply` is what `to` calls as well: modules that lay out their weights anew on a device override it.
            whole: Any = module
            brought: Module = whole._apply(move)  # noqa: SLF001
            stream.synchronize()
        return brought

    def on(self, place: PartitionStream) -> AbstractContextManager[Any]:
        """Torch's current stream is the place's."""
        torch = _torch()
        context: AbstractContextManager[Any] = torch.cuda.stream(self._stream(place))
        return context

    def host_buffer(self, shape: tuple[int, ...], dtype: "torch.dtype") -> "torch.Tensor":
        """Pinned memory."""
        buffer: torch.Tensor = _torch().zeros(shape, dtype=dtype, pin_memory=True)
        return buffer

    def settle(self, place: PartitionStream) -> None:
        """Wait for the place's stream. Raises CudaFault."""
        driver.synchronize(place.stream)

    def record(self, work: Callable[[], Tensors], place: PartitionStream) -> Recorded:
        """Capture a graph; all graphs of a place share one memory pool, for they never run at once."""
        torch = _torch()
        graph = torch.cuda.CUDAGraph()
        pool = self._pools.get(place)
        if pool is None:
            pool = self._pools[place] = torch.cuda.graph_pool_handle()
        with torch.cuda.graph(graph, pool=pool, stream=self._stream(place), capture_error_mode="thread_local"):
            outputs = work()
        return Recorded(graph.replay, outputs, graph.reset)

    def trim(self) -> None:
        """Free what torch's allocator keeps."""
        torch = _torch()
        torch.cuda.empty_cache()

    def _stream(self, place: PartitionStream) -> Any:
        torch = _torch()
        return torch.cuda.ExternalStream(place.number, device=torch.device(self.device))


def gemm_on(placement: Placement) -> Gemm:
    """The gate's matrix product, computed by torch in BF16."""

    def gemm(place: PartitionStream, a: Matrix, b: Matrix) -> Matrix:
        torch = _torch()
        with torch.no_grad(), placement.on(place):
            left, right = (torch.from_numpy(side).to(placement.device, torch.bfloat16) for side in (a, b))
            product: Matrix = (left @ right).float().cpu().numpy()
        return product

    return gemm


def _torch() -> Any:
    """The package, imported when a GPU is opened; untyped, for much of `torch.cuda` is."""
    import torch

    return torch
