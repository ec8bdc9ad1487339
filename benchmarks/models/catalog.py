"""Which models there are, in which sizes, and one way to make each: the same weights and inputs every time.

`full` has the published dimensions, `small` is for a laptop's cores, `tiny` for tests.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from torch import nn

from benchmarks.models import bert, gnmt, resnet, rnnt, vit
from fastgshare.shared.arrays import DTYPES, Array
from fastgshare.shared.handler import TensorSpec

SIZES = ("tiny", "small", "full")
SEED = 2309
_TOKENS = 50  # every vocabulary has that many


@dataclass(frozen=True, slots=True)
class Entry:
    """A model: its family's file and the function in it that makes a size."""

    family: ModuleType
    factory: Callable[[str], nn.Module]


MODELS = {
    "resnet50": Entry(resnet, resnet.resnet50),
    "resnet152": Entry(resnet, resnet.resnet152),
    "resnext50": Entry(resnet, resnet.resnext50),
    "bert_large": Entry(bert, bert.bert_large),
    "vit_b16": Entry(vit, vit.vit_b16),
    "vit_h14": Entry(vit, vit.vit_h14),
    "gnmt": Entry(gnmt, gnmt.gnmt),
    "rnnt": Entry(rnnt, rnnt.rnnt),
}


def build(name: str, size: str) -> nn.Module:
    """A model in evaluation mode with seeded weights. Raises KeyError for an unknown name or size."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        module = MODELS[name].factory(size)
    return module.eval().requires_grad_(False)


def parameters(name: str, size: str) -> int:
    """How many parameters a model has; takes no memory for them."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in MODELS[name].factory(size).parameters())


def signature(module: nn.Module) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """A model's inputs, in the order it takes them, and outputs."""
    return list(module.inputs), list(module.outputs)


def sample(module: nn.Module, batch: int) -> dict[str, Array]:
    """Inputs that the model can take: seeded noise, tokens of any vocabulary, masks that hide nothing."""
    generator = np.random.default_rng(SEED)
    return {spec.name: _values(spec, batch, generator) for spec in signature(module)[0]}


def _values(spec: TensorSpec, batch: int, generator: np.random.Generator) -> Array:
    shape = (batch, *spec.shape[1:])
    if spec.datatype == "FP32":
        return generator.standard_normal(shape, dtype=np.float32)
    if spec.name in ("input_mask", "segment_ids"):
        return np.full(shape, int(spec.name == "input_mask"), dtype=DTYPES[spec.datatype])
    return generator.integers(0, _TOKENS, shape, dtype=np.int64)
