"""A table as CSV: a head of `# name: value` lines, then a row for each point of the surface.

Pure. What was written is read back exactly. Files made elsewhere need columns for the share of the SMs, the quota and
the throughput, under any name of `tablecolumns`; each of their rows is a measured point, of one input a batch where no
column says otherwise.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import asdict

from fastgshare.client.errors import TableFileInvalid
from fastgshare.client.tablecolumns import (
    BATCH,
    BY_NAME,
    KEY,
    MEASURED,
    MEASURED_RPS,
    MODEL,
    NTH,
    OWN,
    POINT,
    QUOTA,
    SM,
    SURFACE,
    THROUGHPUT,
    Column,
    Value,
)
from fastgshare.client.tablesense import nonsense, state_problem
from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import Profile, ProfileAxes, ProfilePoint, ProfileState, SurfacePoint
from fastgshare.shared.typed import decode_json
from fastgshare.shared.units import US_PER_S

MAX_ROWS = 5_000
LINES_SHOWN = 5
OTHER_SEPARATORS = (";", "\t", "|")

_HEAD: Mapping[str, Any] = {
    "model_digest": str,
    "device_kind": str,
    "state": ProfileState,
    "version": int,
    "table_version": int,
    "reason": str,
    "measured_at_us": int,
    "wall_ms": float,
    "axes": ProfileAxes | None,
    "is_grid": bool,
    "source": str,
    "max_batch": int,
    "objective_us": int,
}

Cell = tuple[Value, Value, Value]


@dataclass(slots=True)
class Lines:
    """What a file gave: a profile as far as it tells one, what is wrong with it, and what is worth knowing.

    `bare`: the lines with a measured point and without what to expect there.
    """

    head: dict[str, Any] = field(default_factory=dict)
    points: list[tuple[int, ProfilePoint]] = field(default_factory=list)
    surface: list[SurfacePoint] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    bare: list[int] = field(default_factory=list)


def write_csv(profile: Profile) -> str:
    """The table as text; `read_csv` gives it back."""
    written: list[str] = []
    for name in _HEAD:
        value = msgspec.json.encode(getattr(profile, name)).decode()
        written.append(f"# {name}: {value}\r\n")
    writer = csv.writer(_Sink(written))
    writer.writerow(column.name for column in OWN)
    points = {(p.sm_partition, p.quota, p.batch): (nth, p) for nth, p in enumerate(profile.points, 1)}
    for shown in profile.surface:
        nth, point = points.pop((shown.sm_partition, shown.quota, shown.batch), (0, None))
        writer.writerow(_row(shown, nth, point))
    for nth, point in points.values():
        writer.writerow(_row(None, nth, point))
    return "".join(written)


def read_csv(text: str, model: str = "") -> tuple[Profile, list[str]]:
    """The table of a file and what is worth knowing about it; what it does not tell (digest, kind) is empty.

    `model` chooses rows by the column `model`, which a file of several models must have.
    Raises:
        TableFileInvalid: with every line and column that is wrong.
    """
    found = Lines()
    lines = text.removeprefix("\ufeff").split("\n")
    begin = _read_head(lines, found)
    try:
        records = list(_records(lines[begin:], begin))
    except csv.Error as error:
        raise TableFileInvalid([f"it is no CSV: {error}"]) from None
    if not records:
        raise TableFileInvalid(["it is empty: expected a line of column names, then a line a point"])
    if len(records) > MAX_ROWS:
        raise TableFileInvalid([f"it has {len(records) - 1} rows, expected at most {MAX_ROWS - 1}"])
    rows = _chosen(records, model, found)
    _read_rows(records[0], rows, found)
    if found.problems:
        raise TableFileInvalid(found.problems)
    points = tuple(point for _, point in sorted(found.points, key=lambda one: one[0]))
    head = {"model_digest": Digest(""), "device_kind": "", "state": ProfileState.COMPLETE} | found.head
    return Profile(**head, points=points, surface=tuple(found.surface)), found.notes


Record = tuple[int, list[str]]


def _records(lines: Sequence[str], skipped: int) -> Iterator[Record]:
    """Each record that is not blank, with the line it begins on."""
    reader = csv.reader([line + "\n" for line in lines], strict=True)
    number = 1
    for record in reader:
        if any(cell.strip() for cell in record):
            yield skipped + number, record
        number = reader.line_num + 1


def _read_head(lines: Sequence[str], found: Lines) -> int:
    """Take in the lines that begin with `#`; how many there are."""
    for number, line in enumerate(lines):
        if not line.startswith("#"):
            return number
        name, _, text = line.lstrip("# ").strip().partition(":")
        if name not in _HEAD:
            continue
        where = f"line {number + 1}, {name}"
        if name == "state":
            problem = state_problem(text.strip().strip('"'))
            found.problems += [f"{where}: {problem}"] if problem else []
            continue
        try:
            found.head[name] = _head_value(name, text.strip())
        except msgspec.MsgspecError as error:
            found.problems.append(f"{where}: {error}")
    return len(lines)


def _head_value(name: str, text: str) -> object:
    if _HEAD[name] is str and not text.startswith('"'):
        return text
    return decode_json(_HEAD[name], text.encode())


def _chosen(records: Sequence[Record], model: str, found: Lines) -> Sequence[Record]:
    """The rows of one model."""
    names = [_named(cell) for cell in records[0][1]]
    rows = records[1:]
    if MODEL not in names:
        if model:
            raise TableFileInvalid([f"line {records[0][0]}: no column {MODEL} to choose the rows of '{model}' by"])
        return rows
    at = names.index(MODEL)
    models = Counter(row[at].strip() for _, row in rows if len(row) > at)
    if model and model not in models:
        raise TableFileInvalid([f"no row of model '{model}', expected one of {', '.join(models)}"])
    if not model and len(models) > 1:
        raise TableFileInvalid([f"it has rows of several models ({', '.join(models)}): choose one with --model"])
    if model:
        found.notes.append(f"{models[model]} of {len(rows)} rows are of {model}")
    return [row for row in rows if not model or (len(row[1]) > at and row[1][at].strip() == model)]


def _read_rows(header: Record, rows: Sequence[Record], found: Lines) -> None:
    columns = _columns(header, found)
    if found.problems:
        return
    is_own = MEASURED_RPS in columns
    seen: dict[Cell, int] = {}
    guesses: list[_Foreign] = []
    for line, row in rows:
        values = _values(line, row, columns, found)
        if values is None:
            continue
        cell = (values[SM], values[QUOTA], values[BATCH])
        if cell in seen:
            what = f"SMs {cell[0]} %, quota {cell[1]}, batch {cell[2]}"
            found.problems.append(f"line {line}: {what} stand on line {seen[cell]} already, expected each once")
        seen[cell] = line
        if is_own:
            _take_own(line, values, found)
        elif values.get(MEASURED, True):
            guesses.append(_Foreign(line, {column.field: value for column, value in values.items()}))
    if not is_own:
        names = {column.field: name for column, name in zip(columns, header[1], strict=True) if column is not None}
        _take_foreign(guesses, names, found)
    if found.surface and found.bare:
        places = f"line{'s' if len(found.bare) > 1 else ''} {', '.join(map(str, found.bare[:LINES_SHOWN]))}"
        more = f" and {len(found.bare) - LINES_SHOWN} more" if len(found.bare) > LINES_SHOWN else ""
        found.notes.append(f"{places}{more}: no {THROUGHPUT.name}, only what was measured there")
    if not rows:
        found.problems.append(f"line {header[0]}: no row follows the column names")


def _columns(header: Record, found: Lines) -> list[Column | None]:
    line, cells = header
    names = [_named(cell) for cell in cells]
    columns = [BY_NAME.get(name) for name in names]
    other = next((mark for mark in OTHER_SEPARATORS if len(cells) == 1 and mark in names[0]), None)
    if other is not None:
        found.problems.append(f"line {line}: separated by {other!r}, expected ','")
        return columns
    fields = Counter(column.field for column in columns if column is not None and column not in POINT)
    for needed, meaning in ((SM, "the share of SMs"), (QUOTA, "the share of time"), (THROUGHPUT, "inputs a second")):
        if not fields[needed.field]:
            others = [name for name, column in BY_NAME.items() if column.field == needed.field and column not in POINT]
            found.problems.append(f"line {line}: no column of {meaning}, expected one of {', '.join(others)}")
    for name, count in fields.items():
        if count > 1:
            found.problems.append(f"line {line}: {count} columns of {name}, expected one")
    ignored = [name for name, column in zip(names, columns, strict=True) if column is None and name not in ("", MODEL)]
    if ignored:
        found.notes.append(f"columns left out: {', '.join(ignored)}")
    return columns


def _named(cell: str) -> str:
    return cell.strip().lower()


def _values(
    line: int, row: Sequence[str], columns: Sequence[Column | None], found: Lines
) -> dict[Column, Value] | None:
    """The values of a row that are there, its key by the key's own columns; None where any is wrong."""
    if len(row) != len(columns):
        found.problems.append(f"line {line}: {len(row)} cells, expected {len(columns)}")
        return None
    values: dict[Column, Value] = {BATCH: 1}
    known = len(found.problems)
    by_field = {column.field: column for column in KEY}
    for cell, column in zip(row, columns, strict=True):
        if column is None or not cell:
            continue
        try:
            values[by_field.get(column.field, column)] = column.value(cell)
        except ValueError as error:
            found.problems.append(f"line {line}, column {column.name}: {error}")
    missing = [column for column in KEY if column not in values and len(found.problems) == known]
    found.problems += [f"line {line}, column {column.name}: it is empty" for column in missing]
    return values if len(found.problems) == known else None


def _take_own(line: int, values: Mapping[Column, Value], found: Lines) -> None:
    key = _fields(values, KEY)
    if THROUGHPUT in values and not _lacks(line, values, SURFACE, found):
        expected = key | _fields(values, SURFACE)
        _note_nonsense(line, expected, _names(SURFACE), found)
        found.surface.append(SurfacePoint(**expected))
    if MEASURED_RPS in values and not _lacks(line, values, POINT, found):
        measured = _fields(values, POINT)
        _note_nonsense(line, key | measured, _names(POINT), found)
        if THROUGHPUT not in values:
            found.bare.append(line)
        nth = int(measured.pop(NTH.field))
        found.points.append((nth, ProfilePoint(**key, **measured)))
    if THROUGHPUT not in values and MEASURED_RPS not in values:
        found.problems.append(f"line {line}: neither {THROUGHPUT.name} nor {MEASURED_RPS.name} is there")


def _names(columns: Iterable[Column]) -> dict[str, str]:
    return {column.field: column.name for column in columns}


def _note_nonsense(line: int, values: Mapping[str, Any], names: Mapping[str, str], found: Lines) -> None:
    """`names`: of the columns, by fields."""
    found.problems += [f"line {line}, column {names[name]}: {problem}" for name, problem in nonsense(values)]


def _lacks(line: int, values: Mapping[Column, Value], columns: Iterable[Column], found: Lines) -> bool:
    missing = [column.name for column in columns if column.is_required and column not in values]
    found.problems += [f"line {line}, column {name}: it is empty" for name in missing]
    return bool(missing)


def _fields(values: Mapping[Column, Value], columns: Iterable[Column]) -> dict[str, Any]:
    return {column.field: values[column] for column in columns if column in values}


@dataclass(frozen=True, slots=True)
class _Foreign:
    """A row of a file made elsewhere: values by the fields they are for."""

    line: int
    values: dict[str, Any]

    @property
    def busy_us(self) -> float:
        """How long the device was a batch's, if it never idled."""
        values = self.values
        return float(values["quota"]) * int(values["batch"]) * US_PER_S / float(values["throughput_rps"])


def _take_foreign(rows: Sequence[_Foreign], names: Mapping[str, str], found: Lines) -> None:
    """Device times that are not told follow from the throughput at the largest quota, where least else shapes it."""
    fullest: dict[tuple[Value, Value], _Foreign] = {}
    for row in rows:
        if not row.values.get("throughput_rps"):
            found.problems.append(f"line {row.line}: no throughput, expected inputs a second above 0")
            continue
        _note_nonsense(row.line, row.values, names, found)
        cell = (row.values["sm_partition"], row.values["batch"])
        if cell not in fullest or row.values["quota"] > fullest[cell].values["quota"]:
            fullest[cell] = row
    if found.problems:
        return
    if not all("device_us" in row.values for row in rows):
        found.notes.append("device times are worked out from the throughput at the largest quota")
    for nth, row in enumerate(rows, 1):
        values: dict[str, Any] = {name: value for name, value in row.values.items() if name in _POINT_FIELDS}
        busy_us = fullest[row.values["sm_partition"], row.values["batch"]].busy_us
        mean_us = values.setdefault("device_us", max(round(busy_us), 1))
        late_us = max(row.values.get("device_p95_us", mean_us), mean_us)
        found.points.append((nth, ProfilePoint(**{**_times(mean_us, late_us), "runs": 0, **values})))


_POINT_FIELDS = frozenset(ProfilePoint.__struct_fields__)


def _times(mean_us: int, late_us: Value) -> dict[str, Any]:
    return {"p50_us": mean_us, "p95_us": late_us, "p99_us": late_us}


@dataclass(frozen=True, slots=True)
class _Sink:
    """What `csv` writes to."""

    written: list[str]

    def write(self, text: str) -> None:
        self.written.append(text)


def _row(shown: SurfacePoint | None, nth: int, point: ProfilePoint | None) -> list[str]:
    surface = asdict(shown) if shown is not None else {"measured": True}
    measured = {**asdict(point), "nth": nth} if point is not None else {}
    key = surface if shown is not None else measured
    return [
        *(_text(key[column.field]) for column in KEY),
        *(_text(surface.get(column.field)) for column in SURFACE),
        *(_text(measured.get(column.field)) for column in POINT),
    ]


def _text(value: Value | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)
