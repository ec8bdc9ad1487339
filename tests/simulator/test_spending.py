"""Where a simulation's time went: all of it is shared out, and the services' cores have their part."""

import pytest

from fastgshare.shared.units import US_PER_S
from fastgshare.simulator.core.run import Run
from fastgshare.simulator.spending import OTHERS, ROOMS, spent_by_room, timed
from tests.simulator.core.scenes import devices, function, plan, poisson, table


def made() -> Run:
    """A few hundred requests."""
    arrivals = poisson(100, 4 * US_PER_S)
    return Run(devices(2), (plan(function(), arrivals),), dict([table("f", 5_000)]), 4 * US_PER_S)


def test_all_the_time_is_shared_out_over_the_rooms() -> None:
    outcome = timed(made())

    spent = spent_by_room(made, outcome.spent.wall_s)

    assert outcome.requests > 300
    assert spent.wall_s == outcome.spent.wall_s > 0
    assert list(spent.by_room) == [*ROOMS, OTHERS]
    assert sum(spent.by_room.values()) == pytest.approx(spent.wall_s, abs=0.001)
    assert all(spent.by_room[room] > 0 for room in ("gateway", "scheduler", "node_manager", "simulator"))
