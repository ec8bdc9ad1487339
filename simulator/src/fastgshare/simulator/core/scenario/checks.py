"""What is wrong with a scenario before any of its files is read: a sentence for each, with place and expectation."""

import math
from collections.abc import Iterator
from itertools import pairwise

from fastgshare.node_manager.devices.sim.curves import shipped
from fastgshare.node_manager.devices.sim.gpus import GPUS
from fastgshare.shared.functions import POLICIES, problems_with
from fastgshare.simulator.core.scenario.building import spec_of
from fastgshare.simulator.core.scenario.definition import (
    DeviceGroup,
    Diurnal,
    FailureEntry,
    FunctionEntry,
    ModelEntry,
    Scenario,
    SchedulerEntry,
    Traffic,
)
from fastgshare.simulator.core.scenario.devices import fleet_of
from fastgshare.simulator.core.tracefile import MAX_S
from fastgshare.simulator.core.traffic import MAX_CV

MAX_DEVICES = 100_000
MAX_CHUNKS = 1_024
MAX_MEMORY_MIB = 10_000_000
MAX_RPS = 1e7
LEAST_S = 0.001
MAX_LOAD_MS = 3_600_000
MAX_SCALE = 1e4
MAX_RATIO = 2.0
MAX_STRETCH = 10_000


def problems_in(scenario: Scenario) -> list[str]:
    """All of them; empty for one that can be run as far as it tells itself."""
    groups = [(_at("devices", nth, len(scenario.groups)), group) for nth, group in enumerate(scenario.groups)]
    problems = [problem for place, group in groups for problem in _device_problems(place, group)]
    problems += _whole_problems(scenario)
    for nth, function in enumerate(scenario.functions):
        problems += _function_problems(f"functions[{nth}]", function)
    problems += _name_problems(scenario)
    if not problems:  # names of devices make sense only where the devices do
        problems += _failure_problems(scenario)
    return problems


def _at(name: str, nth: int, count: int) -> str:
    return name if count == 1 else f"{name}[{nth}]"


def _bounded(place: str, value: float | None, least: float, most: float, above: bool = False) -> Iterator[str]:
    """A problem unless the value is None or within its bounds, or only above the lower one."""
    if value is None or (least < value <= most if above else least <= value <= most):
        return
    wanted = f"above {least:g} and at most {most:g}" if above else f"{least:g} to {most:g}"
    yield f"{place} is {value:g}, expected {wanted}"


def _device_problems(place: str, group: DeviceGroup) -> Iterator[str]:
    given = {"kind": group.kind, "chunks": group.chunks, "memory_mib": group.memory_mib}
    own = [name for name, value in given.items() if value is not None]
    if group.gpu is not None and own:
        yield f"{place}: gpu and {', '.join(own)} given, expected either gpu or all of {', '.join(given)}"
    elif group.gpu is not None and group.gpu not in GPUS:
        yield f"{place}.gpu is {group.gpu!r}, expected one of {', '.join(GPUS)}"
    elif group.gpu is None and len(own) < len(given):
        missing = [name for name in given if name not in own]
        yield f"{place}: {', '.join(missing)} missing, expected gpu (one of {', '.join(GPUS)}) or {', '.join(given)}"
    yield from _bounded(f"{place}.count", group.count, 1, MAX_DEVICES)
    yield from _bounded(f"{place}.chunks", group.chunks, 1, MAX_CHUNKS)
    yield from _bounded(f"{place}.memory_mib", group.memory_mib, 1, MAX_MEMORY_MIB)
    if group.count >= 1:  # else the count is what is wrong
        yield from _bounded(f"{place}.nodes", group.nodes, 1, group.count)


def _whole_problems(scenario: Scenario) -> Iterator[str]:
    if not scenario.groups:
        yield "devices is empty, expected at least one group"
    if len(scenario.groups) > 1:
        yield from _bounded("devices: their count", sum(group.count for group in scenario.groups), 1, MAX_DEVICES)
    if not scenario.functions:
        yield "functions is empty, expected at least one"
    traced = any(traffic.trace is not None for function in scenario.functions for traffic in function.traffics)
    if scenario.duration_s is None and not traced:
        yield "duration_s is missing: only a trace says how long a scenario lasts"
    yield from _bounded("duration_s", scenario.duration_s, LEAST_S, MAX_S)
    yield from _bounded("seed", scenario.seed, 0, 2**63)
    yield from _bounded("window_ms", scenario.window_ms, 1, 60_000)
    yield from _bounded("sample_s", scenario.sample_s, LEAST_S, MAX_S)
    yield from _bounded("gateways", scenario.gateways, 1, 1000)
    yield from _bounded("stretch_permille", scenario.stretch_permille, 0, MAX_STRETCH)
    yield from _bounded("plan.warmup_s", scenario.plan.warmup_s, 0, MAX_S)
    yield from _bounded("plan.most", scenario.plan.most, 1, MAX_DEVICES)
    for nth, policy in enumerate(scenario.policies):
        if policy not in POLICIES:
            yield f"policies[{nth}] is {policy!r}, expected one of {', '.join(POLICIES)}"
        elif policy in scenario.policies[:nth]:
            yield f"policies[{nth}] is {policy!r} once more, expected each once"
    if not scenario.policies:
        yield f"policies is empty, expected some of {', '.join(POLICIES)}"
    yield from _scheduler_problems(scenario.scheduler)


def _scheduler_problems(entry: SchedulerEntry) -> Iterator[str]:
    yield from _bounded("scheduler.tick_ms", entry.tick_ms, 1, 60_000)
    yield from _bounded("scheduler.headroom", entry.headroom, 0, 10)
    for name in ("node_silent_s", "rate_s"):
        yield from _bounded(f"scheduler.{name}", getattr(entry, name), 0, MAX_S, above=True)
    for name in ("idle_s", "scale_down_s", "scale_up_s", "drain_s"):
        yield from _bounded(f"scheduler.{name}", getattr(entry, name), 0, MAX_S)


def _function_problems(place: str, function: FunctionEntry) -> Iterator[str]:
    told = f"{place} ({function.name})"
    yield from _model_problems(told, function.model)
    yield from (f"{told}: {problem}" for problem in problems_with(spec_of(function)))
    yield from _bounded(f"{told}: weights_mib", function.weights_mib, 0, MAX_MEMORY_MIB)
    if function.weights_mib > function.slice.gpu_mem_mib:
        yield (
            f"{told}: weights_mib is {function.weights_mib:g}, expected at most slice.gpu_mem_mib, "
            f"{function.slice.gpu_mem_mib}, which counts them"
        )
    yield from _bounded(f"{told}: load_ms", function.load_ms, 0, MAX_LOAD_MS)
    yield from _bounded(f"{told}: reload_ms", function.reload_ms, 0, MAX_LOAD_MS)
    yield from _bounded(f"{told}: patience_s", function.patience_s, 0, 3600, above=True)
    if not function.traffics:
        yield f"{told}: traffic is empty, expected at least one"
    for nth, traffic in enumerate(function.traffics):
        yield from _traffic_problems(f"{told}: {_at('traffic', nth, len(function.traffics))}", traffic)


def _model_problems(place: str, model: ModelEntry) -> Iterator[str]:
    if (model.curve is None) == (model.table is None):
        given = "neither" if model.curve is None else "both"
        yield f"{place}: model: {given} of curve and table given, expected exactly one"
    elif model.curve is not None and model.curve not in shipped():
        yield f"{place}: model.curve is {model.curve!r}, expected one of {', '.join(shipped())}"


def _traffic_problems(place: str, traffic: Traffic) -> Iterator[str]:
    kinds = {"rps": traffic.rps, "steps": traffic.steps, "diurnal": traffic.diurnal, "trace": traffic.trace}
    given = [name for name, value in kinds.items() if value is not None]
    if len(given) != 1:
        yield f"{place}: {' and '.join(given) or 'none'} given, expected exactly one of {', '.join(kinds)}"
    yield from _bounded(f"{place}.rps", traffic.rps, 0, MAX_RPS)
    yield from _bounded(f"{place}.cv", traffic.cv, 0, MAX_CV)
    yield from _bounded(f"{place}.scale", traffic.scale, 0, MAX_SCALE, above=True)
    yield from _bounded(f"{place}.start_s", traffic.start_s, 0, MAX_S)
    stop_s = traffic.stop_s
    if stop_s is not None and not traffic.start_s < stop_s <= MAX_S:
        yield f"{place}.stop_s is {stop_s:g}, expected more than start_s, {traffic.start_s:g}"
    if traffic.steps is not None:
        yield from _step_problems(place, traffic.steps)
    if traffic.diurnal is not None:
        yield from _wave_problems(f"{place}.diurnal", traffic.diurnal)


def _step_problems(place: str, steps: tuple[tuple[float, float], ...]) -> Iterator[str]:
    if not steps:
        yield f"{place}.steps is empty, expected [from second, requests a second] at least once"
    for nth, (from_s, rps) in enumerate(steps):
        yield from _bounded(f"{place}.steps[{nth}] second", from_s, 0, MAX_S)
        yield from _bounded(f"{place}.steps[{nth}] rate", rps, 0, MAX_RPS)
    for nth, ((before, _), (after, _)) in enumerate(pairwise(steps), start=1):
        if after <= before:
            yield f"{place}.steps[{nth}] begins at {after:g} after {before:g}, expected ascending times"


def _wave_problems(place: str, wave: Diurnal) -> Iterator[str]:
    yield from _bounded(f"{place}.mean_rps", wave.mean_rps, 0, MAX_RPS)
    yield from _bounded(f"{place}.peak_ratio", wave.peak_ratio, 1, MAX_RATIO)
    yield from _bounded(f"{place}.period_s", wave.period_s, 1, MAX_S)
    if not math.isfinite(wave.peak_at_s):
        yield f"{place}.peak_at_s is {wave.peak_at_s:g}, expected seconds"


def _name_problems(scenario: Scenario) -> Iterator[str]:
    names = [function.name for function in scenario.functions]
    for nth, name in enumerate(names):
        if name in names[:nth]:
            yield f"functions[{nth}].name is {name!r} once more, expected each once"


def _failure_problems(scenario: Scenario) -> Iterator[str]:
    fleet = fleet_of(scenario.groups)
    nodes = {str(device.node) for device in fleet}
    devices = {str(device.device) for device in fleet}
    for nth, failure in enumerate(scenario.failures):
        yield from _one_failure(f"failures[{nth}]", failure, nodes, devices)


def _one_failure(place: str, failure: FailureEntry, nodes: set[str], devices: set[str]) -> Iterator[str]:
    if (failure.node is None) == (failure.device is None):
        given = "neither" if failure.node is None else "both"
        yield f"{place}: {given} of node and device given, expected exactly one"
    if failure.node is not None and failure.node not in nodes:
        yield f"{place}.node is {failure.node!r}, expected one of node-0 to node-{len(nodes) - 1}"
    if failure.device is not None and failure.device not in devices:
        yield f"{place}.device is {failure.device!r}, expected a name such as node-0-gpu0 (nodes: {len(nodes)})"
    yield from _bounded(f"{place}.at_s", failure.at_s, 0, MAX_S)
    if failure.until_s is not None and not failure.at_s < failure.until_s <= MAX_S:
        yield f"{place}.until_s is {failure.until_s:g}, expected more than at_s, {failure.at_s:g}"
