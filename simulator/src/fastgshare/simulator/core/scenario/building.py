"""From a checked scenario, and what its files hold, to a run under one policy."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from msgspec.structs import replace

from fastgshare.node_manager.core.speed import Contention
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, NodeId
from fastgshare.shared.messages import FunctionSpec, ModelRef, Profile
from fastgshare.shared.units import PER_MILLE, US_PER_MS, s_to_us, us_to_s
from fastgshare.simulator.core import traffic as arriving
from fastgshare.simulator.core.run import DevicePlan, Failure, FunctionPlan, Run
from fastgshare.simulator.core.scenario.definition import FunctionEntry, ModelEntry, Scenario, TraceEntry, Traffic
from fastgshare.simulator.core.scenario.devices import fleet_of
from fastgshare.simulator.core.scenario.policies import under
from fastgshare.simulator.core.tracefile import ANYBODY, Trace, load_of

ANY_DIGEST = Digest("0" * 64)
"""Of a model whose files nobody has looked at yet."""

PATIENCE_SLOS = 2
"""How many objectives a caller waits, where the scenario does not say."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What a scenario's files hold: traces by file, tables by model and kind of device."""

    traces: Mapping[str, Trace] = field(default_factory=dict)
    tables: Mapping[tuple[Digest, str], Profile] = field(default_factory=dict)
    digests: Mapping[str, Digest] = field(default_factory=dict)
    """The models of tables, by file."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Can be gone through again and again, and gives the same each time."""

    make: Callable[[], Iterable[int]]

    def __iter__(self) -> Iterator[int]:
        """From the start."""
        return iter(self.make())


def run_of(scenario: Scenario, policy: str, sources: Sources) -> Run:
    """What is to be simulated."""
    duration_us = duration_us_of(scenario, sources)
    fleet = fleet_of(scenario.groups)
    return Run(
        devices=fleet,
        functions=tuple(
            _plan_of(scenario, nth, policy, sources, duration_us) for nth in range(len(scenario.functions))
        ),
        tables=sources.tables,
        duration_us=duration_us,
        settings=settings_of(scenario),
        window_us=scenario.window_ms * US_PER_MS,
        failures=_failures(scenario, fleet),
        seed=scenario.seed,
        gateways=scenario.gateways,
        stretch_permille=stretch_of(scenario),
        sample_us=s_to_us(scenario.sample_s),
        names={digest_of(function.model, sources): model_name(function.model) for function in scenario.functions},
    )


def resized(scenario: Scenario, devices: int) -> Scenario:
    """The same on so many devices, as many on each node as before. The scenario has one group."""
    [group] = scenario.groups
    on_a_node = -(-group.count // (group.nodes or group.count))
    return replace(scenario, devices=replace(group, count=devices, nodes=-(-devices // on_a_node)))


def duration_us_of(scenario: Scenario, sources: Sources) -> int:
    """As stated, or until the last trace is over."""
    if scenario.duration_s is not None:
        return s_to_us(scenario.duration_s)
    ends_s = [
        each.start_s + sources.traces[each.trace.file].end_s
        for function in scenario.functions
        for each in function.traffics
        if each.trace is not None
    ]
    return s_to_us(max(ends_s))


def spec_of(function: FunctionEntry, digest: Digest = ANY_DIGEST) -> FunctionSpec:
    """The definition that `fastgshare deploy` would store. Without `replicas` and `autoscale` it has one replica."""
    one = 1 if function.replicas is None and function.autoscale is None else function.replicas
    return FunctionSpec(
        name=FunctionName(function.name),
        model=ModelRef(digest=digest, size_bytes=1, format="sim", source=model_name(function.model)),
        slo_ms=function.slo_ms,
        slo_percentile=function.slo_percentile,
        max_batch=function.max_batch,
        replicas=one,
        autoscale=function.autoscale,
        slice=function.slice,
    )


def model_name(model: ModelEntry) -> str:
    """What people call it."""
    return model.curve or model.table or ""


def digest_of(model: ModelEntry, sources: Sources) -> Digest:
    """Its table's, or one for each curve: functions of the same curve share weights."""
    if model.table is not None:
        return sources.digests[model.table]
    return Digest(hashlib.sha256(f"curve {model.curve}".encode()).hexdigest())


def settings_of(scenario: Scenario) -> Settings:
    """The defaults with what the scenario says."""
    entry = scenario.scheduler
    settings = Settings(window_us=scenario.window_ms * US_PER_MS, stretch=stretch_of(scenario) / PER_MILLE)
    if entry.tick_ms is not None:
        settings = replace(settings, tick_us=entry.tick_ms * US_PER_MS)
    if entry.headroom is not None:
        settings = replace(settings, headroom=entry.headroom)
    if entry.node_silent_s is not None:
        settings = replace(settings, silent_us=s_to_us(entry.node_silent_s))
    for name in ("idle", "scale_down", "scale_up", "drain", "rate"):
        seconds = getattr(entry, f"{name}_s")
        if seconds is not None:
            settings = replace(settings, **{f"{name}_us": s_to_us(seconds)})
    return settings


def stretch_of(scenario: Scenario) -> int:
    """By how much, in thousandths, a batch is stretched where all the rest of its device is at work.

    Where the scenario does not say: what sim devices take where any model is a curve, nothing for measured tables.
    """
    if scenario.stretch_permille is not None:
        return scenario.stretch_permille
    has_curves = any(function.model.curve is not None for function in scenario.functions)
    return Contention().stretch_permille if has_curves else 0


def patience_s_of(function: FunctionEntry) -> float:
    """How long its callers wait."""
    return function.patience_s or PATIENCE_SLOS * function.slo_ms / 1000


def requests_of(scenario: Scenario, sources: Sources) -> float:
    """To be expected in all, without making them."""
    duration_us = duration_us_of(scenario, sources)
    return sum(
        _requests(function, traffic, sources, duration_us)
        for function in scenario.functions
        for traffic in function.traffics
    )


def _plan_of(scenario: Scenario, nth: int, policy: str, sources: Sources, duration_us: int) -> FunctionPlan:
    function = scenario.functions[nth]
    seed = arriving.seed_for(scenario.seed, nth)
    return FunctionPlan(
        spec=under(policy, spec_of(function, digest_of(function.model, sources))),
        arrivals=Arrivals(partial(arrivals_of, function, sources, seed, duration_us)),
        patience_us=s_to_us(patience_s_of(function)),
        load_us=function.load_ms * US_PER_MS,
        reload_us=function.reload_ms * US_PER_MS,
        weights_mib=function.weights_mib,
        own_mib=function.slice.gpu_mem_mib - function.weights_mib,
    )


def arrivals_of(function: FunctionEntry, sources: Sources, seed: int, duration_us: int) -> Iterable[int]:
    """All of its requests, ascending, none at or after the end."""
    parts = [
        _arrivals(function, traffic, sources, arriving.seed_for(seed, nth), duration_us)
        for nth, traffic in enumerate(function.traffics)
    ]
    return arriving.merged(parts)


def _arrivals(
    function: FunctionEntry, traffic: Traffic, sources: Sources, seed: int, duration_us: int
) -> Iterator[int]:
    from_us, until_us = _span_us(traffic, duration_us)
    if until_us <= from_us:
        return iter(())
    if traffic.trace is not None:
        times_s, rates = rows_of(function, traffic.trace, sources.traces[traffic.trace.file])
        if rates is None:
            return arriving.recorded(times_s, traffic.scale, seed, from_us=from_us, until_us=until_us)
        load = load_of(times_s, rates, traffic.scale, us_to_s(until_us - from_us))
    else:
        load = _load_of(traffic, us_to_s(until_us - from_us))
    return arriving.arrivals(load, traffic.cv, seed, from_us=from_us, until_us=until_us)


def _requests(function: FunctionEntry, traffic: Traffic, sources: Sources, duration_us: int) -> float:
    from_us, until_us = _span_us(traffic, duration_us)
    span_s = us_to_s(until_us - from_us)
    if span_s <= 0:
        return 0.0
    if traffic.trace is None:
        return _load_of(traffic, span_s).requests
    times_s, rates = rows_of(function, traffic.trace, sources.traces[traffic.trace.file])
    if rates is None:
        return traffic.scale * int((times_s < span_s).sum())
    return load_of(times_s, rates, traffic.scale, span_s).requests


def _span_us(traffic: Traffic, duration_us: int) -> tuple[int, int]:
    until_us = duration_us if traffic.stop_s is None else min(s_to_us(traffic.stop_s), duration_us)
    return s_to_us(traffic.start_s), until_us


def rows_of(function: FunctionEntry, entry: TraceEntry, trace: Trace) -> tuple[arriving.Floats, arriving.Floats | None]:
    """The function's rows of a trace, or those of nobody in particular. Raises KeyError where it has none."""
    if ANYBODY in trace.rows:
        return trace.rows[ANYBODY]
    return trace.rows[entry.function or function.name]


def _load_of(traffic: Traffic, until_s: float) -> arriving.Load:
    if traffic.steps is not None:
        return arriving.stepped([(from_s, rps * traffic.scale) for from_s, rps in traffic.steps], until_s)
    if traffic.diurnal is not None:
        wave = traffic.diurnal
        mean_rps = wave.mean_rps * traffic.scale
        return arriving.wave(mean_rps, wave.peak_ratio, wave.period_s, wave.peak_at_s, until_s)
    return arriving.steady((traffic.rps or 0.0) * traffic.scale, until_s)


def _failures(scenario: Scenario, fleet: tuple[DevicePlan, ...]) -> tuple[Failure, ...]:
    node_of = {str(device.device): device.node for device in fleet}
    return tuple(
        Failure(
            at_us=s_to_us(entry.at_s),
            node=NodeId(entry.node) if entry.node is not None else node_of[entry.device or ""],
            device=None if entry.device is None else DeviceId(entry.device),
            until_us=None if entry.until_s is None else s_to_us(entry.until_s),
        )
        for entry in scenario.failures
    )
