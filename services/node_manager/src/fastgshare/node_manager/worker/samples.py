"""Inputs to measure a model with: the function's own sample, or valid random tensors from the model's signature."""

import zipfile
from pathlib import Path

import numpy as np

from fastgshare.node_manager.devices.ports import ModelInfo
from fastgshare.shared.arrays import DTYPES, Array, to_tensor
from fastgshare.shared.errors import FastGShareError
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.messages import Tensor
from fastgshare.shared.tensors import BYTES

FREE_AXIS_LENGTH = 32
SEED = 7


class SampleInvalid(FastGShareError):
    """A function's sample does not fit its inputs: field `reason`."""


def read_sample(path: Path, inputs: tuple[TensorSpec, ...]) -> tuple[Tensor, ...]:
    """The first file of a sample zip as request inputs: an `.npz` by input name, anything else as the one BYTES input.

    Raises:
        SampleInvalid: the zip or its content cannot be used for these inputs.
    """
    try:
        with zipfile.ZipFile(path) as bundle:
            name = bundle.namelist()[0]
            if name.endswith(".npz"):
                with bundle.open(name) as file, np.load(file, allow_pickle=False) as arrays:
                    return tuple(to_tensor(key, arrays[key]) for key in arrays.files)
            content = bundle.read(name)
    except (zipfile.BadZipFile, IndexError, ValueError, OSError) as error:
        raise SampleInvalid(reason=str(error)) from error
    if len(inputs) != 1 or inputs[0].datatype != BYTES:
        raise SampleInvalid(reason=f"'{name}' is raw content, but the function takes {[s.name for s in inputs]}")
    element = np.empty(1, dtype=object)
    element[0] = content
    return (to_tensor(inputs[0].name, element),)


def random_row(info: ModelInfo) -> dict[str, Array]:
    """One row of random model inputs; free axes other than the batch get a fixed length."""
    generator = np.random.default_rng(SEED)
    return {spec.name: _random(spec, generator) for spec in info.inputs}


def repeat_row(row: dict[str, Array], batch: int) -> dict[str, Array]:
    """A batch of one row's copies."""
    if batch == 1:
        return row
    return {name: np.concatenate([array] * batch) for name, array in row.items()}


def _random(spec: TensorSpec, generator: np.random.Generator) -> Array:
    free = [FREE_AXIS_LENGTH if length < 0 else length for length in spec.shape]
    shape = (1, *free[1:]) if spec.shape[:1] == (-1,) else tuple(free)
    if spec.datatype == BYTES:
        return np.full(shape, b"sample", dtype=object)
    dtype = DTYPES[spec.datatype]
    if dtype.kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    return generator.integers(0, 2, shape).astype(dtype)
