"""A scenario around a bare trace: every function in it with the same model and objective, scaled as they need."""

import math
from typing import NamedTuple

from fastgshare.shared.messages import Autoscale
from fastgshare.simulator.core.scenario.definition import (
    DeviceGroup,
    FunctionEntry,
    ModelEntry,
    PlanEntry,
    Scenario,
    TraceEntry,
    Traffic,
)
from fastgshare.simulator.core.tracefile import ANYBODY, Trace

MAX_REPLICAS = 1000
WARMUP_S = 10.0
MANY_SAMPLES = 2_000_000
"""Over all functions; a longer trace is counted in longer samples than seconds."""
TABLE_SUFFIX = ".json"


class Wish(NamedTuple):
    """What a trace does not tell: `model` is a shipped curve, or a file with a table."""

    model: str
    slo_ms: float = 200.0
    slo_percentile: float = 99.0
    max_batch: int = 8
    gpu: str = "v100"


def scenario_for(file: str, trace: Trace, wish: Wish) -> Scenario:
    """One device to begin with, and what comes in the first ten seconds not counted."""
    is_table = wish.model.endswith(TABLE_SUFFIX)
    model = ModelEntry(table=wish.model) if is_table else ModelEntry(curve=wish.model)
    warmup_s = WARMUP_S if trace.end_s > 2 * WARMUP_S else 0.0
    return Scenario(
        name=file,
        devices=DeviceGroup(count=1, gpu=wish.gpu),
        functions=tuple(_function(name, file, model, wish) for name in trace.rows),
        plan=PlanEntry(warmup_s=warmup_s),
        sample_s=float(max(math.ceil(trace.end_s * len(trace.rows) / MANY_SAMPLES), 1)),
    )


def _function(name: str, file: str, model: ModelEntry, wish: Wish) -> FunctionEntry:
    return FunctionEntry(
        name="function" if name == ANYBODY else name,
        model=model,
        slo_ms=wish.slo_ms,
        slo_percentile=wish.slo_percentile,
        max_batch=wish.max_batch,
        autoscale=Autoscale(min=1, max=MAX_REPLICAS),
        traffic=Traffic(trace=TraceEntry(file=file)),
    )
