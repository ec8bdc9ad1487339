"""An emulated model's answers: zeros of the datatypes and shapes that its signature and the input give.

An output's leading axis is the batch's. Another free axis has the length of the same axis of the input of the same
name; else of the first input of as many axes in which it is free too; else 1.
"""

from collections.abc import Mapping

import numpy as np

from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.ports import ModelInfo
from fastgshare.shared.arrays import DTYPES, Array
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.tensors import BYTES

FREE = -1
_TEXT_KINDS = "OSU"


def rows_in(info: ModelInfo, feed: Mapping[str, Array]) -> int:
    """How many rows a feed has; 1 where the model knows no batches. Raises ModelFault for one that does not fit."""
    names = [spec.name for spec in info.inputs]
    if set(feed) != set(names):
        raise ModelFault(reason=f"it was given inputs {sorted(feed)}, expected {names}")
    for spec in info.inputs:
        _check(spec, feed[spec.name])
    if not info.is_batched:
        return 1
    rows = {name: feed[name].shape[0] for name in names}
    if len(set(rows.values())) > 1 or rows[names[0]] < 1:
        raise ModelFault(reason=f"its inputs have {rows} rows, expected the same number, at least 1")
    return rows[names[0]]


def blank_outputs(info: ModelInfo, feed: Mapping[str, Array], rows: int) -> dict[str, Array]:
    """Zeros, False, or empty BYTES for each output. Raises ModelFault where they are too large to make."""
    try:
        return {spec.name: _blank(spec.datatype, _shape(spec, info, feed, rows)) for spec in info.outputs}
    except (MemoryError, ValueError) as error:
        raise ModelFault(reason=f"its outputs cannot be made: {error}") from error


def _check(spec: TensorSpec, array: Array) -> None:
    is_right = array.dtype.kind in _TEXT_KINDS if spec.datatype == BYTES else array.dtype == DTYPES[spec.datatype]
    if not is_right:
        raise ModelFault(reason=f"input '{spec.name}' has type {array.dtype}, expected {spec.datatype}")
    fits = len(array.shape) == len(spec.shape) and all(
        wanted in (FREE, length) for length, wanted in zip(array.shape, spec.shape, strict=True)
    )
    if not fits:
        shapes = f"{list(array.shape)}, expected {list(spec.shape)} (-1: any length)"
        raise ModelFault(reason=f"input '{spec.name}' has shape {shapes}")


def _blank(datatype: str, shape: tuple[int, ...]) -> Array:
    if datatype == BYTES:
        return np.full(shape, b"", dtype=object)
    return np.zeros(shape, DTYPES[datatype])


def _shape(spec: TensorSpec, info: ModelInfo, feed: Mapping[str, Array], rows: int) -> tuple[int, ...]:
    lengths = list(spec.shape)
    for axis, length in enumerate(lengths):
        if length == FREE:
            lengths[axis] = rows if axis == 0 and info.is_batched else _length(spec, axis, info, feed)
    return tuple(lengths)


def _length(spec: TensorSpec, axis: int, info: ModelInfo, feed: Mapping[str, Array]) -> int:
    namesake = feed.get(spec.name)
    if namesake is not None and axis < namesake.ndim:
        return namesake.shape[axis]
    for given in info.inputs:
        if len(given.shape) == len(spec.shape) and given.shape[axis] == FREE:
            return feed[given.name].shape[axis]
    return 1
