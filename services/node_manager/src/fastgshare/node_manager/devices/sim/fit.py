"""Refits curves from a table of throughputs: `python -m fastgshare.node_manager.devices.sim.fit v100_profiles.csv`.

The table is a CSV with the columns model, sm_pct, quota, rps and gpu_util_max, one closed-loop measurement a row, one
item a batch. Curves are fitted to the rows at quota 1, where a batch takes 1 / rps; how far smaller quotas are from
their share of that is told beside them. The curves go to standard output as JSON, their errors to standard error.
"""

import argparse
import csv
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fastgshare.node_manager.core.speed import WHOLE_PERCENT
from fastgshare.node_manager.devices.sim.curves import CurveFile, FittedCurve
from fastgshare.node_manager.devices.sim.fitting import TableUnusable, TimedPoint, errors_of, fit_curve
from fastgshare.shared.units import US_PER_S

COLUMNS = ("model", "sm_pct", "quota", "rps", "gpu_util_max")
ERROR_DECIMALS = 4
FULL_QUOTA = 1.0


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: `busy`, the part of the time in which the GPU ran anything at all."""

    model: str
    sm_percent: float
    quota: float
    rps: float
    busy: float


def read_rows(path: Path) -> list[Row]:
    """Raises TableUnusable, naming the line."""
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise TableUnusable(reason=f"{path.name} lacks the columns {', '.join(missing)}")
        return [_row(line, f"{path.name}, line {reader.line_num}") for line in reader]


def curves_from(rows: Sequence[Row], sms: int) -> dict[str, FittedCurve]:
    """A curve for each model, from its rows at full quota. Raises TableUnusable.

    A percentage of the SMs is rounded up to whole ones, as MPS does. The part of a batch's floor that does not grow
    with the batch is the part of the time in which the GPU stood still although all of it was there to use.
    """
    full = defaultdict(list)
    for row in rows:
        if row.quota == FULL_QUOTA:
            full[row.model].append(row)
    if not full:
        raise TableUnusable(reason=f"it has no rows at quota {FULL_QUOTA}")
    return {model: _fitted(full[model], sms) for model in sorted(full)}


def quota_ratios(rows: Sequence[Row]) -> dict[tuple[str, float], list[float]]:
    """By model and quota: the rate over quota times the rate at full quota, for each SM share; 1 is in proportion."""
    full = {(row.model, row.sm_percent): row.rps for row in rows if row.quota == FULL_QUOTA}
    ratios = defaultdict(list)
    for row in rows:
        if row.quota != FULL_QUOTA and (row.model, row.sm_percent) in full:
            ratios[row.model, row.quota].append(row.rps / (row.quota * full[row.model, row.sm_percent]))
    return dict(sorted(ratios.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="fit", description="Fit speed curves for the sim device.")
    parser.add_argument("table", type=Path, help="a CSV with the columns " + ", ".join(COLUMNS))
    parser.add_argument("--gpu", default="v100", help="the name curves get before the slash")
    parser.add_argument("--sms", type=int, default=80, help="SMs of the GPU that was measured")
    parser.add_argument("--source", default="", help="where the table is from; its file name by default")
    asked = parser.parse_args(arguments)
    try:
        rows = read_rows(asked.table)
        curves = curves_from(rows, asked.sms)
    except (OSError, TableUnusable) as error:
        sys.stderr.write(f"{error.reason if isinstance(error, TableUnusable) else error}\n")
        return 1
    fixed = "1 - gpu_util_max at the largest SM share"
    made = CurveFile(gpu=asked.gpu, source=asked.source or asked.table.name, fixed=fixed, curves=curves)
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(made), indent=2).decode() + "\n")
    sys.stderr.write(_report(curves, rows))
    return 0


def _row(line: dict[str, str], place: str) -> Row:
    try:
        numbers = [float(line[name]) for name in COLUMNS[1:]]
    except (TypeError, ValueError):
        raise TableUnusable(reason=f"{place}: expected numbers in {', '.join(COLUMNS[1:])}") from None
    sm_percent, quota, rps, busy = numbers
    if not (0 < sm_percent <= WHOLE_PERCENT and 0 < quota <= FULL_QUOTA and 0 < rps < math.inf and 0 <= busy <= 100):
        raise TableUnusable(reason=f"{place}: expected sm_pct above 0 to 100, quota above 0 to 1, rps above 0")
    return Row(line["model"], sm_percent, quota, rps, busy / WHOLE_PERCENT)


def _fitted(rows: Sequence[Row], sms: int) -> FittedCurve:
    fixed = 1 - max(rows, key=lambda row: row.sm_percent).busy
    points = [TimedPoint(_whole_sms(row.sm_percent, sms), 1, US_PER_S / row.rps) for row in rows]
    fit = fit_curve(points, fixed)
    left_out = [_left_out_error(points, at, fixed) for at in range(len(points))]
    return FittedCurve(
        curve=fit.curve,
        points=len(points),
        median_error=round(fit.median_error, ERROR_DECIMALS),
        max_error=round(fit.max_error, ERROR_DECIMALS),
        left_out_median_error=round(statistics.median(left_out), ERROR_DECIMALS),
        left_out_max_error=round(max(left_out), ERROR_DECIMALS),
    )


def _left_out_error(points: Sequence[TimedPoint], at: int, fixed: float) -> float:
    """The error at one point of the curve that the others make."""
    others = [*points[:at], *points[at + 1 :]]
    [error] = errors_of(fit_curve(others or points, fixed).curve, [points[at]])
    return error


def _whole_sms(sm_percent: float, sms: int) -> float:
    return WHOLE_PERCENT * math.ceil(sm_percent * sms / WHOLE_PERCENT) / sms


def _report(curves: dict[str, FittedCurve], rows: Sequence[Row]) -> str:
    lines = ["relative error        median      max   left out: median      max"]
    for model, fitted in curves.items():
        errors = (fitted.median_error, fitted.max_error, fitted.left_out_median_error, fitted.left_out_max_error)
        lines.append("{:20} {:6.1%}   {:6.1%}             {:6.1%}   {:6.1%}".format(model, *errors))
    lines.append("rate over quota x rate at quota 1: smallest, median, largest over the SM shares")
    for (model, quota), ratios in quota_ratios(rows).items():
        numbers = (min(ratios), statistics.median(ratios), max(ratios))
        lines.append("{:14} {:4.1f}    {:5.2f}  {:5.2f}  {:5.2f}".format(model, quota, *numbers))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
