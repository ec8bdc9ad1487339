"""The exact answer on small cases: the fewest devices for a set of rectangles, and whether one device holds them.

By OR-tools CP-SAT: each rectangle has a device and the first chunk of its window; on every chunk of every device the
shares add up to at most the whole, and memory on every device to at most what it has. Slow and obvious.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ortools.sat.python import cp_model

PER_MILLE = 1000


class Rectangle(NamedTuple):
    """A replica's demands: neighbouring chunks, parts per thousand of their time, memory."""

    wide: int
    share: int
    memory_mib: int = 0


class Fewest(NamedTuple):
    """The fewest devices; not proven: no fewer than this many."""

    devices: int
    is_proven: bool


def fewest_devices(rectangles: Sequence[Rectangle], chunks: int, memory_mib: int, limit_s: float, known: int) -> Fewest:
    """The fewest devices that hold them all; `known` many are known to suffice."""
    floor = lower_bound(rectangles, chunks, memory_mib)
    if floor >= known:
        return Fewest(known, True)
    best = known
    while best > floor:
        answer = fits_on(rectangles, chunks, memory_mib, best - 1, limit_s)
        if answer is None:
            return Fewest(floor, False)
        if not answer:
            return Fewest(best, True)
        best -= 1
    return Fewest(best, True)


def lower_bound(rectangles: Sequence[Rectangle], chunks: int, memory_mib: int) -> int:
    """No fewer devices can do: by area, by memory, and by those of which no two share a device."""
    area = sum(one.wide * one.share for one in rectangles)
    memory = sum(one.memory_mib for one in rectangles)
    alone = sum(2 * one.wide > chunks and 2 * one.share > PER_MILLE for one in rectangles)
    return max(-(-area // (chunks * PER_MILLE)), -(-memory // memory_mib) if memory_mib else 0, alone, 1)


def fits_on(rectangles: Sequence[Rectangle], chunks: int, memory_mib: int, devices: int, limit_s: float) -> bool | None:
    """Whether so many devices hold them all; None where that was not found out in time."""
    model = cp_model.CpModel()
    begins: list[dict[tuple[int, int], cp_model.IntVar]] = []
    for number, one in enumerate(sorted(rectangles, key=lambda one: -one.wide * one.share)):
        begins.append(
            {
                (device, first): model.new_bool_var(f"{number} on {device} from {first}")
                for device in range(min(devices, number + 1))
                for first in range(chunks - one.wide + 1)
            }
        )
        model.add_exactly_one(begins[-1].values())
    ordered = sorted(rectangles, key=lambda one: -one.wide * one.share)
    for device in range(devices):
        on = [
            (one, first, chosen)
            for one, options in zip(ordered, begins, strict=True)
            for (where, first), chosen in options.items()
            if where == device
        ]
        model.add(sum(one.memory_mib * chosen for one, _, chosen in on) <= memory_mib)
        for chunk in range(chunks):
            covering = [one.share * chosen for one, first, chosen in on if first <= chunk < first + one.wide]
            model.add(sum(covering) <= PER_MILLE)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = limit_s
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    status = solver.status_name(solver.solve(model))
    return {"OPTIMAL": True, "FEASIBLE": True, "INFEASIBLE": False}.get(status)
