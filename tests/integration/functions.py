"""The functions that the tests deploy: definitions over the models and handlers beside this file."""

from pathlib import Path
from typing import Any

from msgspec.structs import replace

from fastgshare.client import FunctionDefinition, HandlerSource, ModelSource
from fastgshare.shared.messages import Slice
from tests.integration import models

HANDLERS = Path(__file__).with_name("handlers")
NARROW = Slice(sm_partition=50, quota_request=0.05, quota_limit=1.0, gpu_mem_mib=32)


# More than any machine has: a function on it stands, and its callers wait.
NOWHERE = Slice(sm_partition=50, quota_request=0.05, quota_limit=1.0, gpu_mem_mib=1 << 40)


def function(name: str, model: Path, **fields: Any) -> FunctionDefinition:
    """A function on a small slice, so that many fit on two cores."""
    definition = FunctionDefinition(name=name, model=ModelSource(file=str(model)), slice=NARROW, slo_ms=2000.0)
    return replace(definition, **fields)


def times(name: str, directory: Path, factor: float = 1.0, **fields: Any) -> FunctionDefinition:
    """Answers `factor` times `x`."""
    return function(name, models.times(directory / f"times-{factor:g}.onnx", factor), **fields)


def slow(name: str, directory: Path, products: int, **fields: Any) -> FunctionDefinition:
    """Answers `x` after a while."""
    return function(name, models.slow(directory / f"slow-{products}.onnx", products), **fields)


def moody(name: str, directory: Path, factor: float = 1.0, **fields: Any) -> FunctionDefinition:
    """Answers as `handlers/moody.py` does."""
    return handled(name, directory, "moody.py", "Moody", factor, **fields)


def handled(
    name: str, directory: Path, file: str, class_name: str, factor: float = 1.0, **fields: Any
) -> FunctionDefinition:
    """User code before and after `factor` times `x`."""
    handler = HandlerSource(file=str(HANDLERS / file), class_name=class_name)
    return times(name, directory, factor, handler=handler, **fields)
