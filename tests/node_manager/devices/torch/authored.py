"""Torch models as an author writes them and `fastgshare deploy` stores them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fastgshare.client.bundle import assemble
from fastgshare.client.definition import FunctionDefinition, ModelSource
from fastgshare.client.wheels import Wheels
from fastgshare.node_manager.devices.ports import StoredModel
from fastgshare.shared.objects import digest_of

torch = pytest.importorskip("torch", reason="torch is optional: `make torch` installs it")
safetensors_torch = pytest.importorskip("safetensors.torch", reason="torch is optional: `make torch` installs it")

WIDTH = 8

# Multiplies what it gets by a weight.
SCALING = """
import torch
from fastgshare.shared.handler import TensorSpec


class Scaling(torch.nn.Module):
    inputs = [TensorSpec("x", "FP32", (-1, 8))]
    outputs = [TensorSpec("y", "FP32", (-1, 8))]

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(8))

    def forward(self, x):
        return x * self.scale


def make():
    return Scaling()
"""


def scaled(scale: float) -> dict[str, Any]:
    """Weights for SCALING."""
    return {"scale": torch.full((WIDTH,), scale)}


def stored(
    directory: Path,
    code: str = SCALING,
    weights: Mapping[str, Any] | None = None,
    *,
    factory: str = "model:make",
    files: Mapping[str, str] | None = None,
) -> StoredModel:
    """The model as a node's cache holds it: under its digest, made by the client."""
    room = directory / f"authored-{len(list(directory.iterdir()))}"
    (room / "scratch").mkdir(parents=True)
    (room / "model.py").write_text(code)
    for name, text in (files or {}).items():
        (room / name).write_text(text)
    safetensors_torch.save_file(dict(scaled(2.0) if weights is None else weights), room / "w.safetensors")
    source = ModelSource(file="model.py", factory=factory, weights="w.safetensors", files=tuple(files or ()))
    definition = FunctionDefinition(name="authored", model=source)
    bundle = assemble(definition, room, room / "scratch", Wheels([])).model
    return cached(directory, bundle, "torch", factory)


def exported(directory: Path, program: Any) -> StoredModel:
    """A program as a node's cache holds it."""
    path = directory / f"program-{len(list(directory.iterdir()))}.pt2"
    torch.export.save(program, path)
    return cached(directory, path, "torch_export")


def cached(directory: Path, file: Path, form: str, factory: str = "") -> StoredModel:
    """A file moved to where its digest says."""
    cache = directory / "cache"
    cache.mkdir(exist_ok=True)
    digest = digest_of(file)
    return StoredModel(digest, file.rename(cache / digest), form, factory)
