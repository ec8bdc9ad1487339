"""Torch modules on cores: one module for all sessions of a model, which compute on their callers' threads.

What was found on torch 2.13 for x86 Linux, whose parallel regions are GNU OpenMP's (docs/decisions/0006 has figures):
- `torch.set_num_threads` binds the calling thread, and threads that first compute later; others that have computed
  keep theirs, though `torch.get_num_threads` tells the latest number everywhere.
- Each calling thread has a pool of its own, made at its first parallel region with the affinity it has then. Pools keep
  that affinity when their caller is pinned elsewhere, and end with it.
So a session sets the number for each run and ends its thread's pool when it is opened, since it may have moved.
"""

import ctypes
import functools
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from fastgshare.node_manager.devices.faults import InputUnusable, ModelFault
from fastgshare.node_manager.devices.ports import ModelInfo, StoredModel
from fastgshare.node_manager.devices.torch_models import LoadedModule, load_module, weights_of
from fastgshare.shared.arrays import DTYPES, Array

if TYPE_CHECKING:
    import torch

_MAPS = Path("/proc/self/maps")
_OPENMP = re.compile(r"/lib(?:gomp|omp|iomp5)[^/]*\.so[^/]*$")
_PAUSE_SOFT = 1  # omp_pause_soft

_NO_MEMORY = re.compile(r"not enough memory|can't allocate memory|out of memory", re.IGNORECASE)
_SHAPE = re.compile(r"shape|size|dimension|channels|guard failed", re.IGNORECASE)
_INDEX = re.compile(r"index out of range|out of bounds", re.IGNORECASE)


class TorchRuntime:
    """The `Runtime` port for formats torch and torch_export."""

    def load(self, model: StoredModel) -> "TorchModel":
        """Read a model; the first of this process imports torch. Raises ModelFault."""
        return TorchModel(load_module(model))


class TorchModel:
    """A module in this process's memory."""

    def __init__(self, loaded: LoadedModule) -> None:
        self.info = loaded.info
        self.weights_mib = loaded.weights_mib
        self._loaded: LoadedModule | None = loaded

    def session(self, cores: int) -> "TorchSession":
        """A session for the calling thread. Raises ModelFault once the model is closed."""
        if self._loaded is None:
            raise ModelFault(reason="its weights were freed")
        return TorchSession(self._loaded, cores)

    def close(self) -> None:
        """Let go of the module; the weights go with the last session of it."""
        self._loaded = None


class TorchSession:
    """A module bound to the thread that opened it."""

    is_portable = False

    def __init__(self, loaded: LoadedModule, cores: int) -> None:
        self._loaded: LoadedModule | None = loaded
        self._cores = cores
        self._owner = threading.get_ident()
        self._has_run = False
        end_own_pool()

    def run(self, feed: dict[str, Array]) -> dict[str, Array]:
        """One batch. Raises ModelFault, InputUnusable for inputs whose free axes or values the module cannot take."""
        import torch

        if self._loaded is None:
            raise ModelFault(reason="its session was closed")
        torch.set_num_threads(self._cores)  # 0.2 µs
        try:
            with torch.inference_mode():
                tensors = [_tensor(feed[spec.name]) for spec in self._loaded.info.inputs]
                before = None if self._has_run else versions(self._loaded.module)
                outputs = self._loaded.by_name(self._loaded.module(*tensors))
                arrays = {name: _array(tensor) for name, tensor in outputs.items()}
        except ModelFault:
            raise
        except Exception as error:
            raise fault_of(error, self._loaded.info) from error
        if before is not None:
            _check(self._loaded, before, arrays)
            self._has_run = True
        return arrays

    def close(self) -> None:
        """Let go of the module and end the thread's pool."""
        if self._loaded is not None:
            self._loaded = None
            if threading.get_ident() == self._owner:
                end_own_pool()


def versions(module: "torch.nn.Module") -> dict[str, int]:
    """How often each weight was written since it was made."""
    return {weight.name: weight.tensor._version for weight in weights_of(module)}  # noqa: SLF001


def fault_of(error: Exception, info: ModelInfo) -> ModelFault:
    """A failed run as a fault: whose it is, the caller's or the model's, and torch's words.

    Where only the batch axis is free a caller cannot get a shape wrong, so that is the model's fault then.
    """
    words = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        return ModelFault(reason=f"there was too little memory for this batch: {words}")
    if isinstance(error, RuntimeError | IndexError | AssertionError | ValueError):
        chosen = any(-1 in spec.shape[1:] for spec in info.inputs) or not info.is_batched
        if _INDEX.search(str(error)) or (chosen and _SHAPE.search(str(error))):
            return InputUnusable(reason=f"the model cannot take these inputs: {words}")
    return ModelFault(reason=words)


def end_own_pool() -> None:
    """End the calling thread's OpenMP pool: the next parallel region makes one on the cores it is pinned to now."""
    for library in _openmp():
        library.omp_pause_resource_all(_PAUSE_SOFT)


@functools.cache
def _openmp() -> tuple[ctypes.CDLL, ...]:
    """The OpenMP libraries that torch brought into this process; where maps cannot be read, none is known."""
    if not _MAPS.exists():
        return ()
    paths = {line.split(maxsplit=5)[-1] for line in _MAPS.read_text().splitlines() if _OPENMP.search(line)}
    libraries = [ctypes.CDLL(path) for path in sorted(paths)]
    return tuple(library for library in libraries if hasattr(library, "omp_pause_resource_all"))


def _tensor(array: Array) -> "torch.Tensor":
    """The array's memory as a tensor. Of one that is a message's own a copy: a module may write on its inputs."""
    import torch

    tensor: torch.Tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
    return tensor


def _array(tensor: "torch.Tensor") -> Array:
    array: Array = tensor.numpy()
    return array


def _check(loaded: LoadedModule, before: dict[str, int], outputs: dict[str, Array]) -> None:
    """Hold the module to what all its sessions rely on: it keeps no state, and its outputs are those it declares."""
    after = versions(loaded.module)
    if written := [name for name, version in after.items() if version != before[name]]:
        raise ModelFault(
            reason=f"it writes to its weights {', '.join(written[:3])} when it runs, expected none to change:"
            " all replicas share them"
        )
    for spec in loaded.info.outputs:
        output = outputs[spec.name]
        fits = len(output.shape) == len(spec.shape) and all(
            expected in (-1, length) for expected, length in zip(spec.shape, output.shape, strict=True)
        )
        if output.dtype != DTYPES[spec.datatype] or not fits:
            raise ModelFault(
                reason=f"its output '{spec.name}' is {output.dtype} {list(output.shape)},"
                f" it declares {spec.datatype} {list(spec.shape)}"
            )
