"""Scheduling decisions, what they cost, and how true their simulation is, part by part.

See README.md beside this file for what each figure means. A part that breaks is told, and the others run.
"""

import time
import traceback
from collections.abc import Mapping, Sequence

import msgspec

from benchmarks.command import finish, parser, say
from benchmarks.scheduler.figures import TARGETS, missed, unmeasured
from benchmarks.scheduler.parts import PARTS, Part
from benchmarks.targets import machine, shown

COSTS = ("late_share_e_by_policy", "device_seconds_e", "promised_device_seconds_e")
COMPANY = ("late_share_e_company", "device_seconds_e_company", "promised_device_seconds_e_company")
HELD_TO = {"device_seconds_e": "; none below ours among those that keep late share <= 0.01"}


class Result(msgspec.Struct):
    """Figures of all parts, the seconds that each took, and the parts that broke, with the error."""

    figures: dict[str, object] = {}
    part_s: dict[str, float] = {}
    broken: dict[str, str] = {}


def main(argv: Sequence[str]) -> int:
    """Measure, print a table and, as the last line, one JSON object; the exit status."""
    takes = parser("objectives met with the fewest devices, live and simulated")
    takes.add_argument("--only", choices=list(PARTS), action="append", help="this part, not all (may be repeated)")
    options = takes.parse_args(argv)
    chosen = {name: PARTS[name] for name in options.only or PARTS}
    began_s = time.monotonic()
    result = measure(chosen, options.quick)
    return publish(result, time.monotonic() - began_s, options.check)


def measure(parts: Mapping[str, Part], quick: bool) -> Result:
    """One part after the other."""
    result = Result()
    for name, part in parts.items():
        began_s = time.monotonic()
        try:
            result.figures.update(part(quick, say))
        except Exception as error:
            traceback.print_exc()
            result.broken[name] = f"{type(error).__name__}: {error}"
        result.part_s[name] = round(time.monotonic() - began_s, 2)
    return result


def publish(result: Result, wall_s: float, check: bool) -> int:
    """Say it all; the exit status."""
    figures = result.figures
    for key, target in TARGETS.items():
        if key in figures:
            print(f"{key:<28}{shown(figures[key]):<12}{target}")
    for key in (*COSTS, *COMPANY):
        if isinstance(costs := figures.get(key), Mapping):
            print(
                f"{key}: {', '.join(f'{policy} {shown(cost)}' for policy, cost in costs.items())}{HELD_TO.get(key, '')}"
            )
    lines, without = missed(figures), unmeasured(figures)
    for key in without:
        print(f"not measured: {key}")
    document = {
        **figures,
        "missed": lines,
        "not_measured": without,
        "broken": result.broken,
        "wall_s": round(wall_s, 1),
        "part_s": result.part_s,
        "machine": machine(),
    }
    broke = [f"broke: {name}: {error}" for name, error in result.broken.items()]
    return finish(document, lines, broke, check=check)
