"""Curves that come with the platform: beside this file one per GPU, in JSON, written by `devices.sim.fit`."""

from functools import cache
from importlib import resources

import msgspec

from fastgshare.node_manager.core.speed import SpeedCurve
from fastgshare.shared.typed import decode_json

DEFAULT_CURVE = "v100/resnet50"


class FittedCurve(msgspec.Struct, frozen=True, kw_only=True):
    """A curve with how good it is: relative errors at its own points, and at each point when fitted without it."""

    curve: SpeedCurve
    points: int
    median_error: float
    max_error: float
    left_out_median_error: float
    left_out_max_error: float


class CurveFile(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU's curves by model. `source`: what they were fitted from; `fixed`: where the batch axis comes from."""

    gpu: str
    source: str
    fixed: str
    curves: dict[str, FittedCurve]


@cache
def shipped() -> dict[str, FittedCurve]:
    """All curves, named `gpu/model`."""
    files = sorted(resources.files(__name__).iterdir(), key=lambda file: file.name)
    read = [decode_json(CurveFile, file.read_bytes()) for file in files if file.name.endswith(".json")]
    return {f"{file.gpu}/{model}": fitted for file in read for model, fitted in file.curves.items()}
