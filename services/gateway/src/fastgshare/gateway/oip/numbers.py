"""Tensor values between JSON and little-endian bytes.

JSON numbers may be nested as the shape says or flat in row-major order. They must be what their datatype can
hold: nothing is rounded to an integer, wrapped, or turned into an infinity.
"""

import math
import re
import struct
from functools import cache
from itertools import chain
from typing import Any

import msgspec

from fastgshare.gateway.oip.documents import MAX_DIMENSIONS
from fastgshare.shared.tensors import BYTES, ELEMENT_BYTES, pack_bytes, unpack_bytes
from fastgshare.shared.typed import json_decoder

_CODES: dict[str, tuple[type, str]] = {
    "BOOL": (bool, "?"),
    "UINT8": (int, "B"),
    "UINT16": (int, "H"),
    "UINT32": (int, "I"),
    "UINT64": (int, "Q"),
    "INT8": (int, "b"),
    "INT16": (int, "h"),
    "INT32": (int, "i"),
    "INT64": (int, "q"),
    "FP16": (float, "e"),
    "FP32": (float, "f"),
    "FP64": (float, "d"),
}
_BRACKETS = re.compile(rb"[\[\s]*")


class ValuesInvalid(ValueError):
    """Values do not fit their datatype or shape; the text says what was expected."""


def pack_json(datatype: str, shape: tuple[int, ...], data: msgspec.Raw) -> bytes:
    """JSON values as a tensor's bytes.

    Raises:
        ValuesInvalid: not JSON, another type, out of the datatype's range, or not as many as the shape has.
    """
    if datatype == BYTES:
        return pack_bytes(text.encode() for text in _flat(str, shape, data))
    element, code = _code(datatype)
    values = _flat(element, shape, data)
    try:
        return struct.pack(f"<{len(values)}{code}", *values)
    except (struct.error, OverflowError) as error:
        raise ValuesInvalid(f"a value does not fit {datatype}: {error}") from None


def unpack_json(datatype: str, shape: tuple[int, ...], data: memoryview) -> tuple[object, ...] | list[str]:
    """A tensor's bytes as values for JSON, flat in row-major order.

    Raises:
        ValuesInvalid: JSON has no way to say them; ask for binary data.
        ValueError: the bytes do not fit the shape.
    """
    if datatype == BYTES:
        return _texts(shape, data)
    _, code = _code(datatype)
    try:
        return struct.unpack(f"<{math.prod(shape)}{code}", data)
    except struct.error as error:
        raise ValueError(f"{data.nbytes} bytes do not fit {datatype} of shape {list(shape)}") from error


def _texts(shape: tuple[int, ...], data: memoryview) -> list[str]:
    elements = unpack_bytes(data)
    if len(elements) != math.prod(shape):
        raise ValueError(f"{len(elements)} elements do not fit shape {list(shape)}")
    try:
        return [str(element, "utf-8") for element in elements]
    except UnicodeDecodeError:
        raise ValuesInvalid("an element is not UTF-8 text: ask for it with binary_data") from None


def _code(datatype: str) -> tuple[type, str]:
    found = _CODES.get(datatype)
    if found is not None:
        return found
    if datatype in ELEMENT_BYTES:
        raise ValuesInvalid(f"{datatype} does not travel in JSON: use binary data")
    raise ValuesInvalid(f"datatype is {datatype!r}, expected one of {', '.join([*ELEMENT_BYTES, BYTES])}")


def _flat(element: type, shape: tuple[int, ...], data: msgspec.Raw) -> list[Any]:
    brackets = _BRACKETS.match(data)
    depth = max(1, brackets[0].count(b"[")) if brackets else 1
    if depth > MAX_DIMENSIONS:
        raise ValuesInvalid(f"data is nested deeper than {MAX_DIMENSIONS}")
    try:
        values = _decoder(element, depth).decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValuesInvalid(f"data: {error}") from None
    if depth > 1:
        values = _flatten(values, shape, depth)
    if len(values) != math.prod(shape):
        raise ValuesInvalid(f"shape {list(shape)} has {math.prod(shape)} values, data has {len(values)}")
    return values


def _flatten(values: list[Any], shape: tuple[int, ...], depth: int) -> list[Any]:
    if depth != len(shape):
        raise ValuesInvalid(f"shape {list(shape)} needs data flat or nested {len(shape)} deep, got {depth}")
    for axis, length in enumerate(shape[:-1]):
        if len(values) != math.prod(shape[: axis + 1]):
            raise ValuesInvalid(f"data does not have {length} items along axis {axis} of shape {list(shape)}")
        if any(len(row) != shape[axis + 1] for row in values):
            raise ValuesInvalid(f"data is not nested as shape {list(shape)} says")
        values = list(chain.from_iterable(values))
    return values


@cache
def _decoder(element: type, depth: int) -> "msgspec.json.Decoder[list[Any]]":
    kind: Any = element
    for _ in range(depth):
        kind = list[kind]
    return json_decoder(kind)
