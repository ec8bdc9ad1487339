"""From a bundle's directory to a handler object; whatever stands in the way is told in words for its author."""

import importlib.util
import inspect
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import cast

import msgspec

from fastgshare.node_manager.handler_host.messages import Load
from fastgshare.node_manager.reasons import reason_of
from fastgshare.shared.arrays import DTYPES
from fastgshare.shared.handler import Handler, HandlerContext, TensorSpec
from fastgshare.shared.tensors import BYTES
from fastgshare.shared.typed import convert


class HandlerUnusable(Exception):
    """The bundle does not make a handler; the message says why."""


class LoadedHandler(msgspec.Struct, frozen=True):
    """A handler with its declarations, checked."""

    handler: Handler
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def streams(self) -> bool:
        """Whether it answers in parts."""
        return inspect.isgeneratorfunction(self.handler.postprocess)


def load_handler(load: Load) -> LoadedHandler:
    """Import the module, make the class, read its declarations. Raises HandlerUnusable."""
    directory = Path(load.directory)
    os.chdir(directory)
    module = _imported(directory, load.module)
    kind = getattr(module, load.class_name, None)
    if not isinstance(kind, type):
        classes = [name for name, value in vars(module).items() if _is_defined_in(value, module)]
        raise HandlerUnusable(f"{load.module} defines no class '{load.class_name}'; it defines {classes}")
    context = HandlerContext(
        function=load.function,
        directory=directory,
        model_metadata=load.model_metadata,
        model_inputs=load.model_inputs,
        model_outputs=load.model_outputs,
    )
    try:
        handler = kind(context)
    except BaseException as error:  # sys.exit() too
        raise HandlerUnusable(f"{load.class_name}(context) raised {reason_of(error, directory)}") from error
    for method in ("preprocess", "postprocess"):
        if not callable(getattr(handler, method, None)):
            raise HandlerUnusable(f"class {load.class_name} has no method '{method}'")
    return LoadedHandler(cast("Handler", handler), _declared(handler, "inputs"), _declared(handler, "outputs"))


def _imported(directory: Path, file_name: str) -> ModuleType:
    path = directory / file_name
    if not path.is_file():
        files = sorted(str(file.relative_to(directory)) for file in directory.rglob("*") if file.is_file())
        raise HandlerUnusable(f"the bundle holds no file '{file_name}'; it holds {files}")
    sys.path.insert(0, str(directory))
    # A file called like a module that is already in use must not take its place.
    name = path.stem if path.stem not in sys.modules else f"handler_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise HandlerUnusable(f"'{file_name}' is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:  # sys.exit() too
        raise HandlerUnusable(f"importing {file_name} raised {reason_of(error, directory)}") from error
    return module


def _is_defined_in(value: object, module: ModuleType) -> bool:
    return isinstance(value, type) and value.__module__ == module.__name__


def _declared(handler: object, name: str) -> tuple[TensorSpec, ...]:
    where = f"class {type(handler).__name__}: '{name}'"
    declared = getattr(handler, name, None)
    if declared is None:
        raise HandlerUnusable(f"{where} is missing, expected a list of TensorSpec")
    try:
        specs = convert(tuple[TensorSpec, ...], msgspec.to_builtins(declared))
    except (msgspec.ValidationError, TypeError) as error:
        raise HandlerUnusable(f"{where} is not a list of TensorSpec: {error}") from error
    names = [spec.name for spec in specs]
    if not names or len(set(names)) < len(names) or not all(names):
        raise HandlerUnusable(f"{where} needs at least one tensor, each with a name of its own, got {names}")
    for spec in specs:
        if spec.datatype != BYTES and spec.datatype not in DTYPES:
            raise HandlerUnusable(f"{where}: '{spec.name}' has datatype {spec.datatype}, expected one of {_KNOWN}")
        if any(length < -1 for length in spec.shape):
            raise HandlerUnusable(
                f"{where}: '{spec.name}' has shape {list(spec.shape)}, expected lengths or -1 for any"
            )
    return specs


_KNOWN = ", ".join([*DTYPES, BYTES])
