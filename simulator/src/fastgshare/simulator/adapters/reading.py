"""Reads a scenario and the files that it names. Every problem is told at once, each with its place."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import yaml

from fastgshare.node_manager.devices.sim.curves import shipped
from fastgshare.shared.errors import InvalidSpec
from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import Profile, ProfileState
from fastgshare.shared.strict import misfits, unknown_keys
from fastgshare.shared.surface import fit
from fastgshare.shared.units import US_PER_MS
from fastgshare.simulator.core.curves import axes_of_points, table_of
from fastgshare.simulator.core.scenario.building import Sources, digest_of, duration_us_of, model_name, rows_of
from fastgshare.simulator.core.scenario.checks import problems_in
from fastgshare.simulator.core.scenario.definition import FunctionEntry, Scenario
from fastgshare.simulator.core.scenario.devices import kinds_of
from fastgshare.simulator.core.tracefile import Trace, TraceInvalid, read_trace, shown

MAX_FITTED = 2_000


@dataclass(frozen=True, slots=True)
class Read:
    """A scenario that can be run, with what its files hold, and what its reader should know."""

    scenario: Scenario
    sources: Sources
    notes: tuple[str, ...] = ()


def read_scenario(path: Path) -> Read:
    """Raises InvalidSpec."""
    return complete(parse_scenario(text_of(path)), path.parent)


def parse_scenario(text: str) -> Scenario:
    """The scenario in a YAML text. Raises InvalidSpec."""
    raw = _parse_yaml(text)
    if not isinstance(raw, dict):
        found = "nothing" if raw is None else f"a {type(raw).__name__}"
        raise InvalidSpec([f"expected keys such as devices and functions, found {found}"])
    problems = [*unknown_keys(raw, Scenario), *misfits(raw, Scenario)]
    if problems:
        raise InvalidSpec(problems)
    return msgspec.convert(raw, Scenario)


def complete(scenario: Scenario, base: Path) -> Read:
    """The scenario with its files, relative to `base`, read. Raises InvalidSpec."""
    problems = problems_in(scenario)
    traces, trace_problems = _read_traces(scenario, base)
    tables, table_problems = _read_tables(scenario, base)
    problems += [*trace_problems, *table_problems]
    if not problems:
        problems += _row_problems(scenario, traces)
    if problems:
        raise InvalidSpec(problems)
    digests = {file: table.model_digest for file, table in tables.items()}
    sources = Sources(traces=traces, digests=digests)
    found = {(table.model_digest, table.device_kind): table for table in tables.values()}
    curves = _curve_tables(scenario, sources)
    sources = Sources(traces=traces, digests=digests, tables=found | curves)
    if problems := list(_kind_problems(scenario, tables)):
        raise InvalidSpec(problems)
    return Read(scenario, sources, tuple(_notes(scenario, sources)))


def text_of(path: Path, place: str = "") -> str:
    """A file of text; `place` begins what is told where it cannot be read. Raises InvalidSpec."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise InvalidSpec([f"{place}cannot read it: {reason}"]) from error


def _parse_yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InvalidSpec([f"{place}not YAML: {error.problem}"]) from error
    except yaml.YAMLError as error:
        raise InvalidSpec([f"not YAML: {error}"]) from error


def _read_traces(scenario: Scenario, base: Path) -> tuple[dict[str, Trace], list[str]]:
    files = dict.fromkeys(
        traffic.trace.file
        for function in scenario.functions
        for traffic in function.traffics
        if traffic.trace is not None
    )
    traces: dict[str, Trace] = {}
    problems: list[str] = []
    for file in files:
        try:
            traces[file] = read_trace(text_of(base / file, f"{file}: "))
        except TraceInvalid as error:
            problems += [f"{file}: {problem}" for problem in shown(error.problems)]
        except InvalidSpec as error:
            problems += error.problems
    return traces, problems


def _row_problems(scenario: Scenario, traces: dict[str, Trace]) -> Iterator[str]:
    for nth, function in enumerate(scenario.functions):
        for traffic in function.traffics:
            if traffic.trace is None:
                continue
            trace = traces[traffic.trace.file]
            try:
                rows_of(function, traffic.trace, trace)
            except KeyError:
                wanted = traffic.trace.function or function.name
                have = ", ".join(list(trace.rows)[:8])
                place = f"functions[{nth}] ({function.name})"
                yield f"{place}: {traffic.trace.file} has no rows of {wanted!r}, it has {have}"


def _read_tables(scenario: Scenario, base: Path) -> tuple[dict[str, Profile], list[str]]:
    files = dict.fromkeys(function.model.table for function in scenario.functions if function.model.table is not None)
    tables: dict[str, Profile] = {}
    problems: list[str] = []
    for file in files:
        try:
            tables[file] = _read_table(text_of(base / file, f"{file}: "))
        except msgspec.MsgspecError as error:
            problems.append(f"{file}: no table as `fastgshare profile FUNCTION --export` writes into .json: {error}")
        except InvalidSpec as error:
            problems += [problem if problem.startswith(file) else f"{file}: {problem}" for problem in error.problems]
    return tables, problems


def _read_table(text: str) -> Profile:
    """Raises InvalidSpec and msgspec's errors."""
    profile = msgspec.json.decode(text.encode(), type=Profile)
    if profile.state is not ProfileState.COMPLETE:
        raise InvalidSpec([f"state is {profile.state}, expected {ProfileState.COMPLETE}"])
    if not profile.points and not profile.surface:
        raise InvalidSpec(["no point in it was measured"])
    for nth, point in enumerate(profile.points):
        if not (0 < point.sm_partition <= 100 and 0 < point.quota <= 1 and point.batch >= 1 and point.device_us > 0):
            raise InvalidSpec(
                [f"points[{nth}]: expected SMs of 1 to 100, a quota up to 1, a batch and device time above 0"]
            )
    if profile.surface and profile.axes is not None:
        return profile
    axes = axes_of_points(profile.points)
    if len(axes.sm_partitions) * len(axes.quotas) * len(axes.batches) > MAX_FITTED:
        raise InvalidSpec([f"its points make more than {MAX_FITTED} combinations"])
    return msgspec.structs.replace(profile, axes=axes, surface=fit(profile.points, axes))


def _kind_problems(scenario: Scenario, tables: dict[str, Profile]) -> Iterator[str]:
    """A table is of one kind of device, so all devices have to be of that kind."""
    kinds = kinds_of(scenario.groups)
    for nth, function in enumerate(scenario.functions):
        table = tables.get(function.model.table or "")
        if table is not None and [table.device_kind] != list(kinds):
            yield (
                f"functions[{nth}] ({function.name}): {function.model.table} was measured on {table.device_kind}, "
                f"devices are of kind {', '.join(kinds)}"
            )


def _curve_tables(scenario: Scenario, sources: Sources) -> dict[tuple[Digest, str], Profile]:
    """One for each curve and kind of device, with batches as large as the largest that a function may have."""
    largest: dict[str, FunctionEntry] = {}
    for function in scenario.functions:
        curve = function.model.curve
        if curve is not None and (curve not in largest or largest[curve].max_batch < function.max_batch):
            largest[curve] = function
    made = {}
    for curve, function in largest.items():
        digest = digest_of(function.model, sources)
        for kind, device in kinds_of(scenario.groups).items():
            made[digest, kind] = curve_table(curve, digest, kind, device.chunks, scenario.window_ms, function.max_batch)
    return made


@cache
def curve_table(curve: str, digest: Digest, kind: str, chunks: int, window_ms: int, max_batch: int) -> Profile:
    """A shipped curve's table. Takes half a second the first time."""
    fitted = shipped()[curve].curve
    return table_of(fitted, digest, kind, chunks, window_ms * US_PER_MS, max_batch, source=f"curve {curve}")


def _notes(scenario: Scenario, sources: Sources) -> Iterator[str]:
    named = {function.name for function in scenario.functions}
    named |= {
        traffic.trace.function
        for function in scenario.functions
        for traffic in function.traffics
        if traffic.trace is not None and traffic.trace.function
    }
    for file, trace in sources.traces.items():
        left_out = [name for name in trace.rows if name and name not in named]
        if left_out:
            yield f"{file}: rows of {', '.join(left_out)} are left out, no function is called so"
    last_us = duration_us_of(scenario, sources)
    for function in scenario.functions:
        for traffic in function.traffics:
            if traffic.start_s * 1e6 >= last_us:
                yield f"{function.name} ({model_name(function.model)}): its traffic starts after the end"
