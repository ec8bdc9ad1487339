"""The columns of a table in a file: their names and units, their names elsewhere, and what may stand there.

Pure. Those of a point's `SurfacePoint` bear its fields' names; those of its measurement, where there was one, begin
with `measured_` where the surface has such a column too, and with `run_` where they tell of batches on the device.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastgshare.shared.functions import MAX_BATCH
from fastgshare.shared.units import US_PER_MS, US_PER_S

Value = int | float | bool | str
YES = ("true", "yes", "1", "measured")
NO = ("false", "no", "0", "interpolated")
MAX_THROUGHPUT_RPS = 1e7


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `field` of its struct, read by `read`, from `low` (above it, if `is_above`) to `high`.

    `too_high` is what else a value above `high` may be.
    """

    name: str
    field: str
    read: Callable[[str], Value]
    expected: str = ""
    low: float = 0
    high: float = math.inf
    is_above: bool = False
    is_required: bool = False
    too_high: str = ""

    def value(self, cell: str) -> Value:
        """What stands there. Raises ValueError with what is wrong and what was expected."""
        try:
            value = self.read(cell)
        except (ValueError, OverflowError):
            raise ValueError(f"'{cell}' {self._expectation()}") from None
        if not self.fits(value):
            hint = f" ({self.too_high})" if self.too_high and float(value) > self.high else ""
            raise ValueError(f"{cell} {self._expectation()}{hint}")
        return value

    def fits(self, value: Value) -> bool:
        """Whether the value lies in the bounds."""
        if isinstance(value, str | bool):
            return True
        return math.isfinite(value) and self.low <= value <= self.high and not (self.is_above and value == self.low)

    def problem(self, value: Value) -> str:
        """What is wrong with a value that does not fit."""
        return f"{value!r} {self._expectation()}"

    def _expectation(self) -> str:
        if self.expected:
            return f"is no {self.expected}"
        kind = "a whole number" if self.read is _whole else "a number"
        least = f"above {self.low:g}" if self.is_above else f"of at least {self.low:g}"
        most = f" and at most {self.high:g}" if math.isfinite(self.high) else ""
        return f"is not {kind} {least}{most}"


def _whole(cell: str) -> int:
    number = float(cell)
    if not number.is_integer():
        raise ValueError(cell)
    return int(cell) if cell.strip().lstrip("+-").isdecimal() else int(number)


def _yes(cell: str) -> bool:
    word = cell.strip().lower()
    if word not in YES + NO:
        raise ValueError(cell)
    return word in YES


def _scaled(scale: float, is_whole: bool) -> Callable[[str], Value]:
    def read(cell: str) -> Value:
        number = float(cell) * scale
        if not math.isfinite(number):
            raise ValueError(cell)
        return round(number) if is_whole else round(number, 9)

    return read


def _us(name: str, field: str = "", is_required: bool = False, high: float = 1e15) -> Column:
    return Column(name, field or name, _whole, high=high, is_required=is_required)


SM = Column("sm_percent", "sm_partition", _whole, low=1, high=100, is_required=True)
QUOTA = Column(
    "quota",
    "quota",
    float,
    high=1,
    is_above=True,
    is_required=True,
    too_high="percent go into a column quota_pct",
)
BATCH = Column("batch", "batch", _whole, low=1, high=MAX_BATCH, is_required=True)
MEASURED = Column("measured", "measured", _yes, "true or false", is_required=True)
THROUGHPUT = Column("throughput_rps", "throughput_rps", float, high=MAX_THROUGHPUT_RPS, is_required=True)
KEY = (SM, QUOTA, BATCH)

SURFACE = (
    MEASURED,
    THROUGHPUT,
    Column("throughput_error", "throughput_error", float, is_required=True),
    _us("device_us", is_required=True),
    _us("device_p95_us", is_required=True),
    _us("latency_p50_us"),
    _us("latency_p95_us"),
    _us("latency_p99_us"),
    Column("latency_error", "latency_error", float),
)

NTH = Column("measured_nth", "nth", _whole, low=1, is_required=True)
MEASURED_RPS = Column("measured_rps", "throughput_rps", float, high=MAX_THROUGHPUT_RPS, is_required=True)
POINT = (
    NTH,
    MEASURED_RPS,
    Column("measured_error", "throughput_error", float),
    _us("run_mean_us", "device_us", is_required=True),
    _us("run_p50_us", "p50_us", is_required=True),
    _us("run_p95_us", "p95_us", is_required=True),
    _us("run_p99_us", "p99_us", is_required=True),
    Column("runs", "runs", _whole, is_required=True),
    Column("settled", "settled", _yes, "true or false"),
    _us("measured_latency_p50_us", "latency_p50_us"),
    _us("measured_latency_p95_us", "latency_p95_us"),
    _us("measured_latency_p99_us", "latency_p99_us"),
    Column("load_rps", "load_rps", float),
    Column("requests", "requests", _whole),
    Column("memory_mib", "memory_mib", float),
    Column("occupancy_percent", "occupancy_percent", float, high=100),
    Column("note", "note", str),
    Column("wall_ms", "wall_ms", float),
)

OWN = (*KEY, *SURFACE, *POINT)

HEAD = (
    _us("measured_at_us", high=1e17),
    Column("wall_ms", "wall_ms", float, high=1e12),
    Column("max_batch", "max_batch", _whole, high=MAX_BATCH),
    _us("objective_us"),
)
"""The figures about a whole table, rather than one of its rows."""


def _other_names() -> dict[str, Column]:
    same: Mapping[Column, tuple[str, ...]] = {
        SM: ("sm_pct", "sm_partition", "sm_percentage", "sms_percent", "sm", "sms"),
        QUOTA: ("quota_share", "time_quota"),
        BATCH: ("batch_size", "bs"),
        THROUGHPUT: ("rps", "qps", "throughput", "inputs_per_s", "requests_per_s", "images_per_s"),
    }
    named = {name: column for column, names in same.items() for name in names}
    for name in ("quota_pct", "quota_percent"):
        named[name] = Column(name, "quota", _scaled(0.01, False), high=1, is_above=True, is_required=True)
    for field, names in {
        "device": ("device", "gpu", "execute"),
        "device_p95": ("device_p95", "gpu_p95"),
        "latency_p50": ("latency_p50", "p50"),
        "latency_p95": ("latency_p95", "p95"),
        "latency_p99": ("latency_p99", "p99"),
    }.items():
        for unit, scale in {"us": 1, "ms": US_PER_MS, "s": US_PER_S}.items():
            for name in names:
                named[f"{name}_{unit}"] = Column(f"{name}_{unit}", f"{field}_us", _scaled(scale, True), high=1e15)
    return named


BY_NAME: Mapping[str, Column] = _other_names() | {column.name: column for column in OWN}
MODEL = "model"
"""Names whose row it is, in files with the rows of several models."""
