"""Inputs to measure a model with: the function's own sample, or valid random tensors from the model's signature.

A signature does not tell which lengths its free axes may have, so some usual ones are tried: all axes of one length,
then images of three channels or one. Axes of one name are of one length. Floats are drawn from a normal distribution;
integers are 0, which every embedding knows, but masks are all 1, and what is called a length is the longest of all.
"""

import sys
import zipfile
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from fastgshare.node_manager.devices.ports import ModelInfo
from fastgshare.shared.arrays import DTYPES, Array, to_array, to_tensor
from fastgshare.shared.errors import FastGShareError
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.messages import Tensor
from fastgshare.shared.tensors import BYTES, problem_with_inputs
from fastgshare.shared.units import BYTES_PER_MIB

LENGTHS = (32, 64, 224, 1, 128)
CHANNELS = (3, 1)
CHANNEL_AXES = (1, 3)  # of an image in a batch: before its height and width, or behind
IMAGE_AXES = 4
FREE = -1
SEED = 7
MAX_UNPACKED_BYTES = 64 * BYTES_PER_MIB


class SampleInvalid(FastGShareError):
    """A function's sample does not fit its inputs: field `reason`."""

    def __str__(self) -> str:
        return str(self.fields["reason"])


def read_sample(path: Path, inputs: tuple[TensorSpec, ...]) -> tuple[Tensor, ...]:
    """The first file of a sample zip as request inputs: an `.npz` by input name, anything else as the one BYTES input.

    Raises:
        SampleInvalid: the zip or its content cannot be used for these inputs.
    """
    try:
        tensors = _read(path, inputs)
    except SampleInvalid:
        raise
    except Exception as error:  # zipfile, its decompressors and numpy raise of damaged bytes what they happen to meet
        raise SampleInvalid(reason=f"it cannot be read: {str(error) or type(error).__name__}") from error
    return _fitting(tensors, inputs, 0)


def one_row(tensors: tuple[Tensor, ...], info: ModelInfo) -> dict[str, Array]:
    """Model inputs cut to their first row. Raises SampleInvalid where they do not fit the model."""
    _fitting(tensors, info.inputs, sys.maxsize if info.is_batched else 0)
    try:
        arrays = {tensor.name: to_array(tensor) for tensor in tensors}
    except ValueError as error:
        raise SampleInvalid(reason=str(error)) from error
    return {name: array[:1] if info.is_batched else array for name, array in arrays.items()}


def random_rows(info: ModelInfo) -> Iterator[tuple[str, dict[str, Array]]]:
    """Rows of random model inputs to be tried in turn, each with its free axes in words; "" where there are none."""
    for words, lengths in _choices(info):
        if words and _size_bytes(info, lengths) > MAX_UNPACKED_BYTES:
            continue
        generator = np.random.default_rng(SEED)
        longest = max(lengths.values(), default=1)
        shapes = {spec: _shape(spec, info, lengths) for spec in info.inputs}
        yield words, {spec.name: _random(spec, shape, longest, generator) for spec, shape in shapes.items()}


def repeat_row(row: dict[str, Array], batch: int) -> dict[str, Array]:
    """A batch of one row's copies."""
    if batch == 1:
        return row
    return {name: np.concatenate([array] * batch) for name, array in row.items()}


def _read(path: Path, inputs: tuple[TensorSpec, ...]) -> tuple[Tensor, ...]:
    with zipfile.ZipFile(path) as bundle:
        members = bundle.infolist()
        if not members:
            raise SampleInvalid(reason="its zip is empty")
        name = members[0].filename
        _check_size(members[:1])
        if name.endswith(".npz"):
            with bundle.open(name) as file:
                return _read_arrays(file)
        content = bundle.read(name)
    if len(inputs) != 1 or inputs[0].datatype != BYTES:
        raise SampleInvalid(reason=f"'{name}' is raw content, but the function takes {[s.name for s in inputs]}")
    element = np.empty(1, dtype=object)
    element[0] = content
    return (to_tensor(inputs[0].name, element),)


def _read_arrays(file: IO[bytes]) -> tuple[Tensor, ...]:
    with zipfile.ZipFile(file) as archive:
        _check_size(archive.infolist())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        return tuple(to_tensor(key, np.asarray(arrays[key])) for key in arrays.files)


def _check_size(members: list[zipfile.ZipInfo]) -> None:
    """zipfile reads no more of a member than its entry says."""
    size_bytes = sum(member.file_size for member in members)
    if size_bytes > MAX_UNPACKED_BYTES:
        limit_mib = MAX_UNPACKED_BYTES // BYTES_PER_MIB
        raise SampleInvalid(reason=f"it unpacks to {size_bytes} bytes, at most {limit_mib} MiB are read")


def _fitting(tensors: tuple[Tensor, ...], inputs: tuple[TensorSpec, ...], max_batch: int) -> tuple[Tensor, ...]:
    problem = problem_with_inputs(tensors, inputs, max_batch)
    if problem is not None:
        raise SampleInvalid(reason=problem)
    return tensors


# An axis by its name, or by its input and place.
_Axis = str | tuple[str, int]
_Lengths = Mapping[_Axis, int]


def _axis(spec: TensorSpec, place: int, info: ModelInfo) -> _Axis:
    names = info.axes.get(spec.name, ())
    return (names[place] if place < len(names) else "") or (spec.name, place)


def _choices(info: ModelInfo) -> Iterator[tuple[str, _Lengths]]:
    """Lengths of the free axes; a leading one is the batch, and so is every axis of its name."""
    free = [(spec, place) for spec in info.inputs for place, length in enumerate(spec.shape) if length == FREE]
    batch = {_axis(spec, place, info): 1 for spec, place in free if place == 0}
    others = [(spec, place) for spec, place in free if _axis(spec, place, info) not in batch]
    if not others:
        yield "", batch
        return
    for length in LENGTHS:
        yield str(length), {_axis(*where, info): length for where in others} | batch
    for channel_axis in CHANNEL_AXES:
        is_channel = [where for where in others if where[1] == channel_axis and len(where[0].shape) == IMAGE_AXES]
        for channels in CHANNELS if is_channel else ():
            chosen = {_axis(*where, info): channels for where in is_channel} | batch
            for length in LENGTHS:
                words = f"{length} with {channels} on axis {channel_axis}"
                yield words, {_axis(*where, info): length for where in others} | chosen


def _shape(spec: TensorSpec, info: ModelInfo, lengths: _Lengths) -> tuple[int, ...]:
    return tuple(
        lengths[_axis(spec, place, info)] if length == FREE else length for place, length in enumerate(spec.shape)
    )


def _size_bytes(info: ModelInfo, lengths: _Lengths) -> int:
    shapes = ((spec, _shape(spec, info, lengths)) for spec in info.inputs)
    return sum(
        prod(shape) * (DTYPES[spec.datatype].itemsize if spec.datatype != BYTES else 1) for spec, shape in shapes
    )


def _random(spec: TensorSpec, shape: tuple[int, ...], longest: int, generator: np.random.Generator) -> Array:
    if spec.datatype == BYTES:
        return np.full(shape, b"sample", dtype=object)
    dtype = DTYPES[spec.datatype]
    name = spec.name.lower()
    if "mask" in name:
        return np.ones(shape, dtype)
    if dtype.kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    return np.full(shape, longest if "len" in name else 0, dtype)
