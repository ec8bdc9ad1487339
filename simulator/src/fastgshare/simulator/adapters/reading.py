"""Reads a scenario and the files that it names. Every problem is told at once, each with its place."""

import itertools
import math
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from fastgshare.node_manager.core.speed import WHOLE_PERCENT
from fastgshare.node_manager.devices.sim.curves import shipped
from fastgshare.node_manager.devices.sim.gpus import GPUS
from fastgshare.shared.errors import InvalidSpec
from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import Profile, ProfileAxes, ProfilePoint, ProfileState, SurfacePoint
from fastgshare.shared.strict import misfits, unknown_keys
from fastgshare.shared.surface import fit
from fastgshare.shared.typed import convert, decode_json
from fastgshare.shared.units import US_PER_MS
from fastgshare.shared.yaml_text import parsed
from fastgshare.simulator.core.curves import axes_of_points, table_of
from fastgshare.simulator.core.scenario.building import Sources, digest_of, duration_us_of, model_name, rows_of
from fastgshare.simulator.core.scenario.checks import problems_in
from fastgshare.simulator.core.scenario.definition import FunctionEntry, Scenario
from fastgshare.simulator.core.scenario.devices import kinds_of
from fastgshare.simulator.core.scenario.lengths import length_problems
from fastgshare.simulator.core.tracefile import ANYBODY, Trace, TraceInvalid, read_trace, shown

MAX_FITTED = 2_000
MAX_BYTES = 256 * 1024 * 1024
MAX_WRITTEN_BYTES = 4 * 1024 * 1024
"""Of what people write themselves."""
TAIL = 0.1
"""A last interval of more than this share of a trace is worth a note: nobody wrote it down."""


@dataclass(frozen=True, slots=True)
class Read:
    """A scenario that can be run, with what its files hold, and what its reader should know."""

    scenario: Scenario
    sources: Sources
    notes: tuple[str, ...] = ()


def read_scenario(path: Path) -> Read:
    """Raises InvalidSpec."""
    return complete(parse_scenario(text_of(path, most_bytes=MAX_WRITTEN_BYTES)), path.parent)


def parse_scenario(text: str) -> Scenario:
    """The scenario in a YAML text. Raises InvalidSpec."""
    raw = parsed(text)
    if not isinstance(raw, dict):
        found = "nothing" if raw is None else f"a {type(raw).__name__}"
        raise InvalidSpec([f"expected keys such as devices and functions, found {found}"])
    problems = [*unknown_keys(raw, Scenario), *misfits(raw, Scenario)]
    if problems:
        raise InvalidSpec(problems)
    return convert(Scenario, raw)


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
    if problems := list(length_problems(scenario, sources)):
        raise InvalidSpec(problems)
    curves = _curve_tables(scenario, sources)
    sources = Sources(traces=traces, digests=digests, tables=found | curves)
    if problems := list(_kind_problems(scenario, tables)):
        raise InvalidSpec(problems)
    return Read(scenario, sources, tuple(_notes(scenario, sources)))


def text_of(path: Path, place: str = "", most_bytes: int = MAX_BYTES) -> str:
    """A file of text; `place` begins what is told where it cannot be read. Raises InvalidSpec."""
    try:
        told = path.stat()
        if stat.S_ISREG(told.st_mode) and told.st_size > most_bytes:
            raise InvalidSpec([f"{place}it has {told.st_size:,} bytes, expected at most {most_bytes:,}"])
        if not stat.S_ISREG(told.st_mode) and not stat.S_ISDIR(told.st_mode):
            raise InvalidSpec([f"{place}it is no regular file"])
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise InvalidSpec([f"{place}cannot read it: {reason}"]) from error


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
            if traffic.trace.function is not None and ANYBODY in trace.rows:
                yield (
                    f"functions[{nth}] ({function.name}): trace.function is {traffic.trace.function!r}, but "
                    f"{traffic.trace.file} has no column 'function' to tell whose rows they are"
                )
                continue
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
    profile = decode_json(Profile, text.encode())
    if not profile.model_digest:
        raise InvalidSpec(["model_digest is empty, expected the model's"])
    if profile.state is not ProfileState.COMPLETE:
        raise InvalidSpec([f"state is {profile.state}, expected {ProfileState.COMPLETE}"])
    if not profile.points and not profile.surface:
        raise InvalidSpec(["no point in it was measured"])
    _check_points("points", profile.points)
    _check_points("surface", profile.surface)
    if profile.surface and profile.axes is not None:
        _check_surface(profile)
        return profile
    axes = axes_of_points(profile.points)
    if len(axes.sm_partitions) * len(axes.quotas) * len(axes.batches) > MAX_FITTED:
        raise InvalidSpec([f"its points make more than {MAX_FITTED} combinations"])
    return msgspec.structs.replace(profile, axes=axes, surface=fit(profile.points, axes))


def _check_points(name: str, points: Iterable[ProfilePoint | SurfacePoint]) -> None:
    """Each can have been measured. Raises InvalidSpec."""
    for nth, point in enumerate(points):
        is_slice = 0 < point.sm_partition <= WHOLE_PERCENT and 0 < point.quota <= 1
        if not (is_slice and point.batch >= 1 and point.device_us > 0 and 0 < point.throughput_rps < math.inf):
            wanted = "SMs of 1 to 100, a quota up to 1, and a batch, a device time and a throughput above 0"
            raise InvalidSpec([f"{name}[{nth}]: expected {wanted}"])


def _check_surface(profile: Profile) -> None:
    """A surface has every point of its axes, once. Raises InvalidSpec."""
    axes = profile.axes or ProfileAxes(sm_partitions=(), quotas=(), batches=())
    for name, values in (("sm_partitions", axes.sm_partitions), ("quotas", axes.quotas), ("batches", axes.batches)):
        if not values or list(values) != sorted(set(values)):
            raise InvalidSpec([f"axes.{name} is {list(values)}, expected at least one value, ascending"])
    wanted = len(axes.sm_partitions) * len(axes.quotas) * len(axes.batches)
    cells = {(point.sm_partition, point.quota, point.batch) for point in profile.surface}
    whole = set(itertools.product(axes.sm_partitions, axes.quotas, axes.batches))
    if cells != whole or len(profile.surface) != wanted:
        raise InvalidSpec([f"surface has {len(profile.surface)} points, expected the {wanted} of its axes, each once"])


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
    traced = [
        (function, traffic.trace)
        for function in scenario.functions
        for traffic in function.traffics
        if traffic.trace is not None
    ]
    named = {function.name for function in scenario.functions} | {trace.function or "" for _, trace in traced}
    for file, trace in sources.traces.items():
        left_out = [name for name in trace.rows if name and name not in named]
        if left_out:
            yield f"{file}: rows of {', '.join(left_out)} are left out, no function is called so"
        users = [function.name for function, entry in traced if entry.file == file]
        if ANYBODY in trace.rows and len(users) > 1:
            yield f"{file}: it does not tell whose rows they are, so each of {', '.join(users)} gets all of them"
        if scenario.duration_s is None and trace.tail_s > TAIL * trace.end_s:
            yield f"{file}: its last rates are taken to hold for {trace.tail_s:g} s, as long as those before"
    last_us = duration_us_of(scenario, sources)
    for function in scenario.functions:
        for traffic in function.traffics:
            if traffic.start_s * 1e6 >= last_us:
                yield f"{function.name} ({model_name(function.model)}): its traffic starts after the end"
    yield from _curve_notes(scenario)


def _curve_notes(scenario: Scenario) -> Iterator[str]:
    """Curves are named after the GPU that they were fitted on; on another one nobody measured."""
    curves = sorted({function.model.curve for function in scenario.functions if function.model.curve})
    names = {gpu.kind: name for name, gpu in GPUS.items()}
    for gpu in sorted({group.gpu or names.get(group.kind or "", group.kind or "") for group in scenario.groups}):
        others = [curve for curve in curves if curve.partition("/")[0] != gpu]
        if others:
            fitted = ", ".join(dict.fromkeys(curve.partition("/")[0] for curve in others))
            yield (
                f"{', '.join(others)}: fitted on {fitted}, taken to be as fast on the same share of the SMs of {gpu}, "
                f"which nobody measured"
            )
