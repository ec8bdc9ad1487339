"""Tables in files: a profile as CSV or JSON, and back again, checked before anybody believes it.

Pure: text and bytes in, a profile out. A file with anything wrong in it gives no table but every line, column and
expectation that was missed. What may be odd and still true (throughput that falls with more SMs) is only told.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import msgspec
from msgspec.structs import replace

from fastgshare.client.errors import TableFileInvalid
from fastgshare.client.tablecolumns import HEAD, KEY, POINT, SURFACE, Column, Value
from fastgshare.client.tablecsv import read_csv, write_csv
from fastgshare.client.tablesense import nonsense, state_problem
from fastgshare.shared.messages import Profile, ProfileAxes, ProfilePoint, SurfacePoint
from fastgshare.shared.surface import fit
from fastgshare.shared.typed import decode_json
from fastgshare.shared.units import BYTES_PER_MIB

CSV = ".csv"
JSON = ".json"
FORMATS = (CSV, JSON)
MAX_FILE_BYTES = 8 * BYTES_PER_MIB
MAX_FITTED = 2_000

Point = ProfilePoint | SurfacePoint


@dataclass(frozen=True, slots=True)
class TableRead:
    """A file's table, and what its reader should know about it."""

    profile: Profile
    notes: tuple[str, ...] = ()


def write_table(profile: Profile, suffix: str) -> bytes:
    """The table as a file of this kind (`.csv` or `.json`). Raises TableFileInvalid for another kind."""
    if suffix == CSV:
        return write_csv(profile).encode()
    if suffix == JSON:
        return msgspec.json.format(msgspec.json.encode(profile)) + b"\n"
    raise TableFileInvalid([f"'{suffix}' is no kind of table, expected {' or '.join(FORMATS)}"])


def read_table(content: bytes, suffix: str, *, model: str = "") -> TableRead:
    """The table in a file of this kind. `model` chooses among the models of a CSV file that has several.

    Its digest and kind are what the file tells, empty where it tells none.
    Raises:
        TableFileInvalid: what is wrong with it.
    """
    if len(content) > MAX_FILE_BYTES:
        limit_mib = MAX_FILE_BYTES // BYTES_PER_MIB
        raise TableFileInvalid([f"it has {len(content) / BYTES_PER_MIB:.1f} MiB, expected at most {limit_mib}"])
    if suffix == CSV:
        profile, notes = read_csv(_decoded(content), model)
    elif suffix == JSON:
        profile, notes = _read_json(_decoded(content)), []
    else:
        raise TableFileInvalid([f"'{suffix}' is no kind of table, expected {' or '.join(FORMATS)}"])
    if not profile.points:
        raise TableFileInvalid(["no point in it was measured"])
    problems = [f"{column.name}: {column.problem(value)}" for column, value in _head(profile) if not column.fits(value)]
    if problems:
        raise TableFileInvalid(problems)
    is_whole = is_complete(profile)
    if not is_whole:
        notes = [*notes, "the points between are worked out anew"] if profile.surface else notes
        profile = _with_surface(profile)
    if not profile.surface:
        raise TableFileInvalid(["no point in it has a throughput and a device time above 0"])
    # A whole surface was fitted to its points, and tells falls from noise better than they do.
    return TableRead(profile, (*notes, *odd_places(profile.surface if is_whole else profile.points)))


def is_complete(profile: Profile) -> bool:
    """Whether the surface has every point of the axes, once each, and the axes are as they should be."""
    axes = profile.axes
    if axes is None or not all(_ascends(axis) for axis in (axes.sm_partitions, axes.quotas, axes.batches)):
        return False
    cells = [(point.sm_partition, point.quota, point.batch) for point in profile.surface]
    return sorted(cells) == sorted(product(axes.sm_partitions, axes.quotas, axes.batches))


def _head(profile: Profile) -> list[tuple[Column, Value]]:
    """The figures about the whole table, with what may stand there."""
    return [(column, getattr(profile, column.field)) for column in HEAD]


def _ascends(axis: Sequence[float]) -> bool:
    return bool(axis) and all(low < high for low, high in pairwise(axis))


def axes_of(points: Iterable[Point]) -> ProfileAxes:
    """The values that these points have."""
    cells = [(point.sm_partition, point.quota, point.batch) for point in points]
    sms, quotas, batches = (tuple(sorted(set(values))) for values in zip(*cells, strict=True))
    return ProfileAxes(sm_partitions=sms, quotas=quotas, batches=batches)


def _with_surface(profile: Profile) -> Profile:
    """Every combination of its points' values, fitted to them."""
    axes = axes_of(profile.points)
    count = len(axes.sm_partitions) * len(axes.quotas) * len(axes.batches)
    if max(count, len(profile.points)) > MAX_FITTED:
        text = f"its values of SMs, quota and batch make {count} combinations, expected at most {MAX_FITTED}"
        raise TableFileInvalid([text])
    return replace(profile, axes=axes, surface=fit(profile.points, axes))


def odd_places(points: Sequence[Point]) -> list[str]:
    """Where throughput falls as SMs or quota grow, by more than both points' errors: a sentence at most each."""
    by_sm = _falls(points, lambda point: (point.batch, point.quota), lambda point: point.sm_partition)
    by_quota = _falls(points, lambda point: (point.batch, point.sm_partition), lambda point: point.quota)
    told = []
    for falls, what in ((by_sm, "more SMs"), (by_quota, "more quota")):
        if falls:
            places = "1 place" if len(falls) == 1 else f"{len(falls)} places, first"
            told.append(f"throughput falls with {what} in {places} {_step(*falls[0])}")
    return told


Falls = list[tuple[Point, Point]]


def _falls(
    points: Iterable[Point],
    line: Callable[[Point], tuple[float, float]],
    along: Callable[[Point], float],
) -> Falls:
    ordered = sorted(points, key=lambda point: (line(point), along(point)))
    return [(a, b) for a, b in pairwise(ordered) if line(a) == line(b) and _is_fall(a, b)]


def _is_fall(before: Point, after: Point) -> bool:
    least = before.throughput_rps * (1 - before.throughput_error)
    return after.throughput_rps * (1 + after.throughput_error) < least


def _step(before: Point, after: Point) -> str:
    places = [f"{p.sm_partition} % at quota {p.quota:g}, batch {p.batch}" for p in (before, after)]
    return f"from {places[0]} ({before.throughput_rps:g}/s) to {places[1]} ({after.throughput_rps:g}/s)"


def _decoded(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise TableFileInvalid([f"line {line}: byte {content[error.start]:#04x} is not UTF-8"]) from None


def _read_json(text: str) -> Profile:
    try:
        profile = decode_json(Profile, text.encode())
    except msgspec.ValidationError as error:
        problem = state_problem(_state_in_json(text)) if str(error).endswith("`$.state`") else ""
        raise TableFileInvalid([f"state: {problem}" if problem else str(error)]) from None
    except msgspec.DecodeError as error:
        raise TableFileInvalid([_place_in_json(text) or str(error)]) from None
    problem = state_problem(profile.state.value)
    problems = [
        *([f"state: {problem}"] if problem else []),
        *_problems_with("points", profile.points),
        *_problems_with("surface", profile.surface),
    ]
    if problems:
        raise TableFileInvalid(problems)
    return profile


def _state_in_json(text: str) -> str:
    return str(json.loads(text)["state"])


def _place_in_json(text: str) -> str:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f"line {error.lineno}, column {error.colno}: no JSON: {error.msg}"
    return ""


def _figures(point: Point) -> dict[str, float]:
    return {name: value for name, value in msgspec.structs.asdict(point).items() if isinstance(value, int | float)}


def _problems_with(name: str, points: Sequence[Point]) -> list[str]:
    columns = [column for column in (*KEY, *(POINT if name == "points" else SURFACE)) if column.field != "nth"]
    problems: list[str] = []
    seen: dict[tuple[int, float, int], int] = {}
    for at, point in enumerate(points):
        values = [(column, getattr(point, column.field)) for column in columns]
        wrong = [
            (column.field, column.problem(value))
            for column, value in values
            if value is not None and not column.fits(value)
        ]
        # Beside figures out of bounds no other makes sense.
        problems += [f"{name}[{at}].{field}: {problem}" for field, problem in wrong or nonsense(_figures(point))]
        first = seen.setdefault((point.sm_partition, point.quota, point.batch), at)
        if first != at:
            problems.append(f"{name}[{at}]: stands at {name}[{first}] already, expected each once")
    return problems
