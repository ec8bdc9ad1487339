"""Inputs to measure a model with: the function's own sample, or valid random tensors from the model's signature."""

import sys
import zipfile
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

FREE_AXIS_LENGTH = 32
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


def random_row(info: ModelInfo) -> dict[str, Array]:
    """One row of random model inputs; free axes other than the batch get a fixed length."""
    generator = np.random.default_rng(SEED)
    return {spec.name: _random(spec, generator) for spec in info.inputs}


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


def _random(spec: TensorSpec, generator: np.random.Generator) -> Array:
    free = [FREE_AXIS_LENGTH if length < 0 else length for length in spec.shape]
    shape = (1, *free[1:]) if spec.shape[:1] == (-1,) else tuple(free)
    if spec.datatype == BYTES:
        return np.full(shape, b"sample", dtype=object)
    dtype = DTYPES[spec.datatype]
    if dtype.kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    return generator.integers(0, 2, shape).astype(dtype)
