"""Where a simulation's own time goes: the same run once more under the profiler, its time shared out by room.

Profiling stretches small functions more than large ones, so these are shares, scaled to what the run took without it.
"""

import cProfile
import gc
import pstats
import time
from collections.abc import Callable
from typing import Any

from fastgshare.simulator.core.outcome import Outcome, Spent
from fastgshare.simulator.core.run import Progress, Run
from fastgshare.simulator.core.world import simulate

ROOMS = ("gateway", "scheduler", "node_manager", "simulator", "shared")
OTHERS = "others"

Function = tuple[str, int, str]


def timed(run: Run, progress: Progress | None = None) -> Outcome:
    """A simulation that tells how much processor time it took.

    Reference cycles are not looked for meanwhile: requests are in none, and looking costs a tenth of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return simulate(run, progress, time.process_time)
    finally:
        if was_enabled:
            gc.enable()


def spent_by_room(make: Callable[[], Run], wall_s: float) -> Spent:
    """`wall_s` of an unprofiled run, shared out as a profiled one of the same (`make` makes it anew) was spent."""
    profile = cProfile.Profile()
    run = make()
    profile.runcall(simulate, run)
    rooms = dict.fromkeys((*ROOMS, OTHERS), 0.0)
    stats: dict[Function, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for function, (_, _, own_s, _, callers) in stats.items():
        room = _room(function)
        if room is not None or not callers:
            rooms[room or OTHERS] += own_s
            continue
        for caller, (_, _, part_s, _) in callers.items():  # what is not ours counts for who asked for it
            rooms[_room(caller) or OTHERS] += part_s
    total_s = sum(rooms.values()) or 1.0
    return Spent(wall_s=wall_s, by_room={room: round(wall_s * own_s / total_s, 4) for room, own_s in rooms.items()})


def _room(function: Function) -> str | None:
    _, _, rest = function[0].replace("\\", "/").rpartition("/fastgshare/")
    room = rest.partition("/")[0]
    return room if room in ROOMS else None
