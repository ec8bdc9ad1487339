"""Open Inference Protocol tensors without numpy: datatypes, sizes, the BYTES encoding, and checks against a signature.

Source: Open Inference Protocol v2, "Tensor Data Types" and the binary tensor data extension.
"""

import math
import struct
from collections.abc import Iterable

from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.messages import Tensor

BYTES = "BYTES"
ELEMENT_BYTES: dict[str, int] = {
    "BOOL": 1,
    "UINT8": 1,
    "UINT16": 2,
    "UINT32": 4,
    "UINT64": 8,
    "INT8": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "FP16": 2,
    "BF16": 2,
    "FP32": 4,
    "FP64": 8,
}
_LENGTH = struct.Struct("<I")


def pack_bytes(elements: Iterable[bytes]) -> bytes:
    """BYTES elements as they travel: a 4-byte little-endian length before each."""
    return b"".join(_LENGTH.pack(len(element)) + element for element in elements)


def unpack_bytes(data: memoryview | bytes) -> list[bytes]:
    """The elements of a BYTES tensor.

    Raises:
        ValueError: the lengths do not add up to the data.
    """
    view = memoryview(data)
    elements: list[bytes] = []
    position = 0
    while position < len(view):
        if position + _LENGTH.size > len(view):
            raise ValueError("a BYTES element's length is cut off")
        (length,) = _LENGTH.unpack_from(view, position)
        position += _LENGTH.size
        if position + length > len(view):
            raise ValueError(f"a BYTES element of {length} bytes is cut off")
        elements.append(bytes(view[position : position + length]))
        position += length
    return elements


def problem_with_inputs(
    inputs: tuple[Tensor, ...], expected: tuple[TensorSpec, ...], max_batch: int, what: str = "input"
) -> str | None:
    """What keeps `inputs` from fitting `expected`, in words that name what was expected; None when they fit.

    `max_batch` bounds the leading axis where it is free (-1) in the signature; 0 means unbounded. `what` is the
    word for one of them where they are not inputs.
    """
    if len(inputs) == len(expected) == 1 and inputs[0].name == expected[0].name:  # most requests
        return _problem_with_one(inputs[0], expected[0], max_batch, what)
    by_name = {tensor.name: tensor for tensor in inputs}
    if len(by_name) != len(inputs):
        return f"an {what} is given twice"
    names = [spec.name for spec in expected]
    missing = [name for name in names if name not in by_name]
    unknown = [name for name in by_name if name not in names]
    if missing or unknown:
        return f"expected {what}s {names}, missing {missing}, unknown {unknown}"
    for spec in expected:
        problem = _problem_with_one(by_name[spec.name], spec, max_batch, what)
        if problem is not None:
            return problem
    rows = {spec.name: by_name[spec.name].shape[0] for spec in expected if spec.shape[:1] == (-1,)}
    if max_batch and len(set(rows.values())) > 1:
        each = ", ".join(f"{name} {count}" for name, count in rows.items())
        return f"{what}s disagree about the batch size: {each}"
    return None


def _problem_with_one(tensor: Tensor, spec: TensorSpec, max_batch: int, what: str) -> str | None:
    name = f"{what} '{spec.name}'"
    if tensor.datatype != spec.datatype:
        return f"{name} has datatype {tensor.datatype}, expected {spec.datatype}"
    if not _fits(tensor.shape, spec.shape):
        return f"{name} has shape {list(tensor.shape)}, expected {list(spec.shape)} (-1: any length)"
    if max_batch and spec.shape[:1] == (-1,) and not 1 <= tensor.shape[0] <= max_batch:
        return f"{name} has {tensor.shape[0]} rows, expected 1 to {max_batch}"
    element = ELEMENT_BYTES.get(tensor.datatype)
    expected_bytes = math.prod(tensor.shape) * element if element else None
    if expected_bytes is not None and tensor.size_bytes != expected_bytes:
        return f"{name} of shape {list(tensor.shape)} needs {expected_bytes} bytes, got {tensor.size_bytes}"
    return None


def _fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(shape) == len(expected) and all(
        length >= 0 and wanted in (-1, length) for length, wanted in zip(shape, expected, strict=True)
    )
