"""Profilers at the moments that tests begin with."""

import pytest

from tests.profiler.world import World, silent


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def paused() -> World:
    """Measuring batch 1 of a table, unanswered."""
    world = World(worker=silent)
    world.deploy()
    world.report()
    world.run(3)
    assert world.batches() == [1]
    return world
