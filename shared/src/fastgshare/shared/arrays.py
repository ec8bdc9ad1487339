"""Tensors as numpy arrays and back, for the places that compute; the only module of `shared` that needs numpy."""

import math
import sys

import numpy as np

from fastgshare.shared.messages import Tensor
from fastgshare.shared.slots import read_slot
from fastgshare.shared.tensors import BYTES, pack_bytes, unpack_bytes

DTYPES: dict[str, np.dtype[np.generic]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
}
COPY_BYTES = 4096  # below this a copy is cheaper than making a view
DATATYPES = {dtype: name for name, dtype in DTYPES.items()}

Array = np.ndarray[tuple[int, ...], np.dtype[np.generic]]


def datatype_of(array: Array) -> str:
    """The OIP datatype of an array. Raises ValueError where OIP has none."""
    datatype = DATATYPES.get(array.dtype)
    if datatype is not None:
        return datatype
    if array.dtype.kind in "OSU":
        return BYTES
    try:
        return DATATYPES[array.dtype.newbyteorder("=")]
    except KeyError:
        raise ValueError(f"no tensor datatype for numpy {array.dtype}") from None


def array_bytes(array: Array) -> memoryview:
    """An array's bytes as they travel; BYTES elements get their lengths."""
    if array.dtype in DATATYPES and sys.byteorder == "little":
        if array.nbytes <= COPY_BYTES:
            return memoryview(array.tobytes())
    elif datatype_of(array) == BYTES:
        return memoryview(pack_bytes(_element(element) for element in array.reshape(-1)))
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data


def to_tensor(name: str, array: Array) -> Tensor:
    """An array as an inline tensor."""
    return Tensor(name, datatype_of(array), tuple(array.shape), array_bytes(array))


def to_array(tensor: Tensor) -> Array:
    """A tensor as an array: a view of inline bytes, or a copy out of its slot.

    Raises:
        ValueError: the bytes do not fit datatype and shape, or numpy has no such type.
        SlotInvalid: the tensor's slot cannot be read.
    """
    data = tensor.data if tensor.slot is None else read_slot(tensor.slot)
    if tensor.datatype == BYTES:
        return _bytes_array(tensor, data)
    if tensor.datatype not in DTYPES:
        raise ValueError(f"tensor '{tensor.name}' has datatype {tensor.datatype}, which is not served here")
    return np.frombuffer(data, dtype=DTYPES[tensor.datatype]).reshape(tensor.shape)


def _bytes_array(tensor: Tensor, data: memoryview) -> Array:
    elements = unpack_bytes(data)
    if len(elements) != math.prod(tensor.shape):
        raise ValueError(
            f"tensor '{tensor.name}' of shape {list(tensor.shape)} needs {math.prod(tensor.shape)} elements,"
            f" got {len(elements)}"
        )
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array.reshape(tensor.shape)


def _element(element: object) -> bytes:
    if isinstance(element, bytes):
        return element
    if isinstance(element, bytearray | memoryview):
        return bytes(element)
    return str(element).encode()
