"""Tensor values between the typed fields of a message and little-endian bytes.

A field holds several datatypes; a number that its datatype cannot hold is refused, never wrapped.
"""

import math
import struct

from fastgshare.gateway.grpc.protos.inference_pb2 import InferTensorContents
from fastgshare.shared.tensors import BYTES, ELEMENT_BYTES, pack_bytes

_FIELDS: dict[str, tuple[str, str]] = {
    "BOOL": ("bool_contents", "?"),
    "UINT8": ("uint_contents", "B"),
    "UINT16": ("uint_contents", "H"),
    "UINT32": ("uint_contents", "I"),
    "UINT64": ("uint64_contents", "Q"),
    "INT8": ("int_contents", "b"),
    "INT16": ("int_contents", "h"),
    "INT32": ("int_contents", "i"),
    "INT64": ("int64_contents", "q"),
    "FP32": ("fp32_contents", "f"),
    "FP64": ("fp64_contents", "d"),
}


class ValuesUnusable(ValueError):
    """Values do not fit their datatype or shape; the text says what was expected."""


def pack_contents(datatype: str, shape: tuple[int, ...], contents: InferTensorContents) -> bytes:
    """The bytes of a tensor that came in typed fields. Raises ValuesUnusable."""
    field, code = ("bytes_contents", "") if datatype == BYTES else _field(datatype)
    others = [found.name for found, _ in contents.ListFields() if found.name != field]
    if others:
        raise ValuesUnusable(f"{', '.join(others)} is given for {datatype}, expected {field}")
    values = getattr(contents, field)
    if len(values) != math.prod(shape):
        raise ValuesUnusable(f"shape {list(shape)} has {math.prod(shape)} values, {field} has {len(values)}")
    if datatype == BYTES:
        return pack_bytes(values)
    try:
        return struct.pack(f"<{len(values)}{code}", *values)
    except (struct.error, OverflowError) as error:
        raise ValuesUnusable(f"a value does not fit {datatype}: {error}") from None


def _field(datatype: str) -> tuple[str, str]:
    found = _FIELDS.get(datatype)
    if found is not None:
        return found
    if datatype in ELEMENT_BYTES:
        raise ValuesUnusable(f"{datatype} has no typed field: use raw_input_contents")
    raise ValuesUnusable(f"datatype is {datatype!r}, expected one of {', '.join([*ELEMENT_BYTES, BYTES])}")
