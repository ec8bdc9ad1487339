"""From a `Load` to a model that computes; whatever stands in the way is told in words, without this host's paths."""

from importlib import import_module
from pathlib import Path
from typing import Protocol

from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.mps.messages import Load
from fastgshare.node_manager.devices.ports import ModelInfo, Ran, StoredModel
from fastgshare.shared.arrays import Array


class OpenModel(Protocol):
    """A model that this process can run."""

    info: ModelInfo
    weights_mib: float

    def allocated_mib(self) -> float:
        """GPU memory that this process's allocator holds; 0 where it computes on cores."""
        ...

    def run(self, feed: dict[str, Array]) -> Ran:
        """One batch, finished when this returns. Raises anything; InputUnusable where its caller is to blame."""
        ...

    def is_lost(self) -> bool:
        """After a run that failed: whether every later one would, too."""
        ...

    def close(self) -> None:
        """Wait for the device to finish, let go of everything."""
        ...


class ModelUnusable(Exception):
    """There is no model; the message says why."""


def open_model(load: Load) -> OpenModel:
    """Have the opener that `load` names make its model. Raises ModelUnusable."""
    module, _, function = load.opener.partition(":")
    try:
        opener = getattr(import_module(module), function)
    except ImportError as error:
        raise ModelUnusable(f"what runs format {load.format} is not installed on this node: {error}") from error
    try:
        model: OpenModel = opener(load)
    except BaseException as error:  # sys.exit() in a model's code too
        raise ModelUnusable(told(error, load.path)) from error
    return model


def stored_model(load: Load) -> StoredModel:
    """The model that `load` is about."""
    return StoredModel(load.digest, Path(load.path), load.format, load.factory)


def told(error: BaseException, path: str) -> str:
    """A fault in one line; where a node keeps a model is nobody's business."""
    words = error.reason if isinstance(error, ModelFault) else f"{type(error).__name__}: {error}"
    line = " ".join(words.split())
    return line.replace(path, "the model file") if path else line
