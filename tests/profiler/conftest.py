"""Profilers at the moments that tests begin with."""

import pytest

from tests.profiler.samples import WHOLE
from tests.profiler.world import World, silent


@pytest.fixture
def world() -> World:
    """A profiler that knows a node, and nothing to measure."""
    world = World()
    world.run(0.4)
    return world


@pytest.fixture
def paused() -> World:
    """Measuring the first point of a table, unanswered."""
    world = World(worker=silent)
    world.deploy()
    world.run(0.4)
    assert world.settings() == [WHOLE]
    return world
