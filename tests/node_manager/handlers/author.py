"""Bundles as authors write them, opened as a worker does."""

import textwrap
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from fastgshare.node_manager.worker.handlers import DEFAULT_LIMITS, Handler, HandlerLimits, open_handler
from fastgshare.shared.arrays import to_array, to_tensor
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import ErrorBody
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import Digest, FunctionName
from fastgshare.shared.messages import HandlerRef, Tensor
from fastgshare.shared.units import s_to_us

MODEL_INPUTS = (TensorSpec("x", "FP32", (-1, 2)),)
MODEL_OUTPUTS = (TensorSpec("y", "FP32", (-1, 2)),)
IMPORTS = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from fastgshare.shared.handler import BadInput, HandlerContext, TensorSpec
"""
# Does what its input says, so that one class serves most tests.
ACTOR = """
class Actor:
    inputs = [TensorSpec("act", "BYTES", (1,))]
    outputs = [TensorSpec("said", "BYTES", (-1,))]

    def __init__(self, context):
        self.context = context

    def preprocess(self, inputs):
        act, _, rest = inputs["act"][0].decode().partition(" ")
        getattr(self, act)(*rest.split())
        return {"x": np.ones((1, 2), np.float32)}

    def postprocess(self, outputs):
        return {"said": np.array([str(outputs["y"].tolist()).encode()], dtype=object)}

    def nothing(self): pass
"""


def in_s(seconds: float) -> int:
    """A deadline this far away."""
    return unix_us() + s_to_us(seconds)


def act(text: str) -> tuple[Tensor, ...]:
    """An input for ACTOR."""
    return (to_tensor("act", np.array([text.encode()], dtype=object)),)


def model_output(value: float = 1.0) -> tuple[Tensor, ...]:
    """What the model gives for one row."""
    return (to_tensor("y", np.full((1, 2), value, np.float32)),)


def values(result: tuple[Tensor, ...] | ErrorBody) -> dict[str, list[object]]:
    """A successful answer's tensors as plain lists."""
    assert not isinstance(result, ErrorBody), result
    return {tensor.name: to_array(tensor).tolist() for tensor in result}


def refusal(result: tuple[Tensor, ...] | ErrorBody) -> ErrorBody:
    """An unsuccessful answer."""
    assert isinstance(result, ErrorBody), values(result)
    return result


def method(source: str) -> str:
    """One more method of ACTOR."""
    return textwrap.indent(textwrap.dedent(source), "    ")


class Author:
    """Writes a handler and opens it; keeps what it logged and whether it was called broken."""

    def __init__(self, directory: Path) -> None:
        self.workdir = directory / "work"
        self.bundle = directory / "bundle.zip"
        self.log: list[str] = []
        self.broken: list[str] = []

    def write(self, source: str, files: dict[str, str] | None = None) -> None:
        """The bundle: `handler.py` with the usual imports, and other files."""
        with zipfile.ZipFile(self.bundle, "w") as archive:
            archive.writestr("handler.py", IMPORTS + textwrap.dedent(source))
            for name, text in (files or {}).items():
                archive.writestr(name, text)

    @asynccontextmanager
    async def open(
        self,
        class_name: str = "Actor",
        limits: HandlerLimits = DEFAULT_LIMITS,
        memory_limit_mib: int = 512,
        cpus: set[int] | None = None,
        module: str = "handler.py",
    ) -> AsyncIterator[Handler]:
        """The handler, loaded."""
        ref = HandlerRef(
            digest=Digest("0" * 64), module=module, class_name=class_name, memory_limit_mib=memory_limit_mib
        )
        async with open_handler(
            ref,
            self.bundle,
            self.workdir,
            function=FunctionName("tested"),
            model_metadata={"alphabet": "abc"},
            model_inputs=MODEL_INPUTS,
            model_outputs=MODEL_OUTPUTS,
            on_log=self.log.append,
            on_broken=self.broken.append,
            limits=limits,
            cpus=cpus,
        ) as handler:
            yield handler

    def line_of(self, text: str) -> int:
        """The number of the first line of `handler.py` that holds `text`."""
        with zipfile.ZipFile(self.bundle) as archive:
            lines = archive.read("handler.py").decode().splitlines()
        return next(number for number, line in enumerate(lines, 1) if text in line)

    def logged(self, text: str) -> bool:
        """Whether a logged line holds `text`."""
        return any(text in line for line in self.log)
