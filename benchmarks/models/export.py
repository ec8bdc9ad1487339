"""A benchmark model as a function ready to deploy: the model in one format, a sample of its input, a function.yaml."""

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
import yaml
from torch import nn

from benchmarks.models.catalog import MODELS, build, sample, signature
from fastgshare.shared.torch_bundle import TORCH, TORCH_EXPORT
from fastgshare.shared.units import BYTES_PER_MIB

ONNX = "onnx"
DEFAULT_SLO_MS = 1000.0
OPSET = 17
ONNX_MOST_MIB = 2047  # a limit of its file format
_TRACED_ROWS = 2  # of one row, torch.export would make a constant
MEMORY_ROOM = 2  # times the weights, and
MEMORY_BASE_MIB = 256

_FACTORY = '''"""{name} in size {size}; its weights lie beside it."""

from .{family} import {factory}


def make():
    """The module."""
    return {factory}("{size}")
'''


class ExportRefused(Exception):
    """A model that a format cannot hold; the message says why."""


def export(name: str, size: str, form: str, directory: Path, slo_ms: float = DEFAULT_SLO_MS) -> Path:
    """Write a model and its function into `directory`, which is made; the function.yaml. Raises ExportRefused."""
    directory.mkdir(parents=True, exist_ok=True)
    module = build(name, size)
    source = FORMATS[form](name, size, module, directory)
    np.savez(directory / "sample.npz", **sample(module, 1))  # type: ignore[arg-type]
    function = {
        "name": f"{name}-{size}",
        "model": source,
        "slo_ms": slo_ms,
        "max_batch": 8,
        "replicas": 1,
        "slice": {"gpu_mem_mib": MEMORY_BASE_MIB + round(MEMORY_ROOM * _weights_mib(module))},
        "sample": "sample.npz",
    }
    path = directory / "function.yaml"
    path.write_text(yaml.safe_dump(function, sort_keys=False), encoding="utf-8")
    return path


def _onnx(name: str, size: str, module: nn.Module, directory: Path) -> dict[str, Any]:
    path = directory / f"{name}.onnx"
    weights_mib = _weights_mib(module)
    if weights_mib >= ONNX_MOST_MIB:
        raise ExportRefused(f"{name} in size {size} has {weights_mib:.0f} MiB of weights, an ONNX file holds 2 GiB")
    inputs, outputs = signature(module)
    # The tracing exporter takes a tenth of the time of the newer one and needs no packages of its own.
    with _quietly():
        torch.onnx.export(
            module,
            _example(module, 1),
            str(path),
            input_names=[spec.name for spec in inputs],
            output_names=[spec.name for spec in outputs],
            dynamic_axes={spec.name: {0: "batch"} for spec in (*inputs, *outputs)},
            opset_version=OPSET,
            dynamo=False,
        )
    return {"file": path.name}


def _torch(name: str, size: str, module: nn.Module, directory: Path) -> dict[str, Any]:
    entry = MODELS[name]
    family = Path(entry.family.__file__ or "")
    factory = _FACTORY.format(name=name, size=size, family=family.stem, factory=entry.factory.__name__)
    (directory / "model.py").write_text(factory, encoding="utf-8")
    (directory / family.name).write_bytes(family.read_bytes())
    safetensors.torch.save_file(module.state_dict(), directory / "weights.safetensors")
    return {"file": "model.py", "factory": "model:make", "files": [family.name], "weights": "weights.safetensors"}


def _torch_export(name: str, _size: str, module: nn.Module, directory: Path) -> dict[str, Any]:
    path = directory / f"{name}.pt2"
    free_batch = tuple({0: torch.export.Dim.DYNAMIC} for _ in signature(module)[0])
    with _quietly():
        program = torch.export.export(_named(module), _example(module, _TRACED_ROWS), dynamic_shapes=free_batch)
        torch.export.save(program, path)
    return {"file": path.name}


FORMATS: dict[str, Callable[[str, str, nn.Module, Path], dict[str, Any]]] = {
    ONNX: _onnx,
    TORCH: _torch,
    TORCH_EXPORT: _torch_export,
}


def _named(module: nn.Module) -> nn.Module:
    """The module, returning a dict: a program has no other names for outputs."""
    names = [spec.name for spec in signature(module)[1]]
    forward = module.forward

    @functools.wraps(forward)  # inputs are named by its parameters
    def named(*tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        returned = forward(*tensors)
        return dict(zip(names, returned if isinstance(returned, tuple) else (returned,), strict=True))

    module.forward = named
    return module


def _example(module: nn.Module, rows: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(array) for array in sample(module, rows).values())


def _weights_mib(module: nn.Module) -> float:
    sizes: list[int] = [weight.nbytes for weight in module.state_dict().values()]
    return sum(sizes) / BYTES_PER_MIB


@contextmanager
def _quietly() -> Iterator[None]:
    """What exporters warn of and does not hold here: that every batch size and every input works is tested."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the exporter that was chosen
        for of_batches in ("Converting a tensor to a Python", "Exporting a model to ONNX with a batch_size"):
            warnings.filterwarnings("ignore", message=of_batches)
        # An LSTM's list of its own parameters, put back when the export ends.
        warnings.filterwarnings("ignore", message="The tensor attributes? .*_flat_weights")
        yield
