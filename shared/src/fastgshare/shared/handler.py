"""What a user writes around a model: pre- and post-processing that runs in a process of its own.

A handler is any class with `inputs`, `outputs`, `preprocess` and `postprocess` as in the `Handler` protocol. One
request is one call of `preprocess`; what it returns feeds the model and has a leading batch axis. BYTES tensors are
object arrays of `bytes`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import msgspec

if TYPE_CHECKING:  # numpy stays out of services that only pass tensors on
    import numpy as np


class TensorSpec(msgspec.Struct, frozen=True, array_like=True):
    """Name, Open Inference Protocol datatype and shape of a tensor; -1 where any length will do."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class HandlerContext(msgspec.Struct, frozen=True):
    """What a handler may know when it is made.

    `directory` holds the handler's file and the extra files its function listed; `model_metadata` is what the model
    file says of itself; `model_inputs` and `model_outputs` are the model's own tensors.
    """

    function: str
    directory: Path
    model_metadata: dict[str, str]
    model_inputs: tuple[TensorSpec, ...]
    model_outputs: tuple[TensorSpec, ...]


class BadInput(Exception):
    """Raise this in `preprocess` when the caller's input is at fault: the caller gets a 400 with the message."""


class Handler(Protocol):
    """The shape of a handler class; no need to inherit from it."""

    inputs: ClassVar[list[TensorSpec]]
    outputs: ClassVar[list[TensorSpec]]

    def __init__(self, context: HandlerContext) -> None: ...

    def preprocess(self, inputs: "dict[str, np.ndarray]") -> "dict[str, np.ndarray]":
        """One request's inputs to model inputs with a leading batch axis."""
        ...

    def postprocess(self, outputs: "dict[str, np.ndarray]") -> "dict[str, np.ndarray]":
        """This request's rows of the model's outputs to what its caller gets.

        Written as a generator, it streams: each dict that it yields leaves at once, as a part of the answer.
        """
        ...
