"""From command-line words to tensors, and from tensors to words.

Numbers in JSON have no type of their own, so they take the one that the function's signature names.
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from fastgshare.cli.running import Usage
from fastgshare.client.values import Result, Value
from fastgshare.shared.arrays import DTYPES, Array, datatype_of
from fastgshare.shared.messages import Signature
from fastgshare.shared.tensors import BYTES

PRINTED_ELEMENTS = 32
NPZ = ".npz"


def parse_input(option: str, signature: Signature | None) -> tuple[str, Value]:
    """`name=JSON`, `name=@file.npy`, `name=@file.npz` or `name=@file` (its bytes as one element). Raises Usage."""
    name, given, text = option.partition("=")
    if not given or not name:
        raise Usage(problem=f"--input is '{option}', expected name=JSON, name=@file.npy or name=@file")
    if text.startswith("@"):
        path = Path(text[1:])
        return name, _member(path, name) if path.suffix == NPZ else _read(path)
    try:
        value = json.loads(text)
    except ValueError as error:
        raise Usage(problem=f"--input {name} is neither JSON nor @file: {error}") from error
    return name, _array(name, value, _datatype(name, signature), None)


def parse_file(path: Path, function: str, signature: Signature | None) -> dict[str, Value]:
    """A file's content as the only input of a function that takes one element of BYTES, or an .npz's arrays.

    Raises:
        Usage: it cannot be read, or is not what the function takes.
    """
    if signature is None:
        told = f"no replica of '{function}' is there before it is called, so what it takes is not known"
        raise Usage(problem=f"{told}: use --input NAME=@{path}, which calls it")
    takers = [spec for spec in signature.inputs if spec.datatype == BYTES]
    if not takers and path.suffix == NPZ:
        return dict(_read_all(path))
    if len(takers) != 1 or len(signature.inputs) != 1:
        told = ", ".join(f"{spec.name} ({spec.datatype})" for spec in signature.inputs)
        raise Usage(problem=f"'{function}' does not take a single file, it takes {told}: use --input, or an .npz")
    return {takers[0].name: _read(path)}


def parse_json(text: str, signature: Signature | None) -> tuple[dict[str, Value], list[str]]:
    """Inputs and wanted outputs from an Open Inference Protocol request body. Raises Usage."""
    try:
        body = json.loads(text)
        inputs: dict[str, Value] = {
            str(each["name"]): _array(
                each["name"],
                each["data"],
                each.get("datatype") or _datatype(each["name"], signature),
                each.get("shape"),
            )
            for each in body["inputs"]
        }
        outputs = [str(each["name"]) for each in body.get("outputs", ())]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        expected = '{"inputs": [{"name": ..., "shape": [...], "datatype": ..., "data": [...]}]}'
        raise Usage(problem=f"--json does not read as {expected}: {type(error).__name__} {error}") from error
    return inputs, outputs


def to_json(function: str, result: Result) -> dict[str, Any]:
    """The answer as an Open Inference Protocol response body; BYTES as text, where they are text."""
    timing = result.timing
    return {
        "model_name": function,
        "outputs": [
            {
                "name": name,
                "datatype": datatype_of(array),
                "shape": list(array.shape),
                "data": [_element(element) for element in array.reshape(-1).tolist()],
            }
            for name, array in result.outputs.items()
        ],
        "parameters": {
            "replica": result.replica,
            "queue_us": timing.queue_us if timing else None,
            "handler_us": timing.handler_us if timing else None,
            "execute_us": timing.execute_us if timing else None,
            "batch": timing.batch if timing else None,
        },
    }


def to_line(name: str, array: Array) -> str:
    """One output for reading."""
    elements = array.reshape(-1)[:PRINTED_ELEMENTS].tolist()
    told = " ".join(f"{element:.6g}" if isinstance(element, float) else str(_element(element)) for element in elements)
    more = f" ... ({array.size} in all)" if array.size > PRINTED_ELEMENTS else ""
    return f"{name}  {datatype_of(array)} {list(array.shape)}  {told}{more}"


def _read(path: Path) -> Value:
    with _readable(path):
        if path.suffix == ".npy":
            loaded: Array = np.load(path, allow_pickle=False)
            return loaded
        return path.read_bytes()


def _read_all(path: Path) -> dict[str, Array]:
    """The arrays of an .npz by name."""
    with _readable(path), np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def _member(path: Path, name: str) -> Array:
    """The array of this name, or the only one."""
    arrays = _read_all(path)
    if name not in arrays and len(arrays) != 1:
        raise Usage(problem=f"{path} holds {', '.join(arrays) or 'nothing'}, expected an array '{name}'")
    return arrays[name] if name in arrays else next(iter(arrays.values()))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, BadZipFile) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise Usage(problem=f"cannot read {path}: {reason}") from error


def _datatype(name: str, signature: Signature | None) -> str | None:
    if signature is None:
        return None
    return next((spec.datatype for spec in signature.inputs if spec.name == name), None)


def _array(name: str, data: Any, datatype: str | None, shape: list[int] | None) -> Array:
    """JSON data as an array of the datatype and, if given, shape. Raises Usage."""
    if datatype is not None and datatype != BYTES and datatype not in DTYPES:
        raise Usage(problem=f"input {name} has datatype '{datatype}', expected BYTES or one of {', '.join(DTYPES)}")
    if _shape(data) is None:
        raise Usage(problem=f"input {name} cannot be {datatype or 'a tensor'}: rows differ in length")
    try:
        array: Array
        if datatype == BYTES or (datatype is None and _holds_text(data)):
            array = np.array(data, dtype=object, ndmin=1)
        else:
            array = np.array(data, dtype=None if datatype is None else DTYPES[datatype])
    except (ValueError, TypeError, OverflowError) as error:
        raise Usage(problem=f"input {name} cannot be {datatype or 'a tensor'}: {error}") from error
    if shape is not None and math.prod(shape) != array.size:
        raise Usage(problem=f"input {name} has shape {shape} and {array.size} elements, expected {math.prod(shape)}")
    return array if shape is None else array.reshape(shape)


def _shape(data: Any) -> tuple[int, ...] | None:
    """The shape of nested lists; None where they are ragged."""
    if not isinstance(data, list):
        return ()
    shapes = {_shape(element) for element in data}
    if len(shapes) > 1 or None in shapes:
        return None
    return (len(data), *(shapes.pop() or () if shapes else ()))


def _holds_text(data: Any) -> bool:
    return any(map(_holds_text, data)) if isinstance(data, list) else isinstance(data, str)


def _element(element: Any) -> Any:
    return element.decode("utf-8", "backslashreplace") if isinstance(element, bytes) else element
