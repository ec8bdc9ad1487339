"""The scheduler's benchmarks in small: what they say holds for a few cases too."""

import pytest

from benchmarks.scheduler.obedient import Fleet
from benchmarks.scheduler.scale import decision_ms
from fastgshare.scheduler.core.commands import MoveReplica


def test_every_order_tried_places_all_eight_and_random_mixes_come_near_the_fewest_devices() -> None:
    pytest.importorskip("ortools")
    from benchmarks.scheduler.packing import gap_to_optimal, orders_placed

    orders = orders_placed(10)
    assert orders["orders_placed"] == orders["orders"]
    assert orders["orders_placed_without_repacking"] < orders["orders"]
    gap = gap_to_optimal(count=3, seed=3)
    assert gap["devices_optimal"] <= gap["devices"] <= gap["devices_on_arrival"]
    assert gap["devices"] <= gap["devices_optimal"] + 1
    assert gap["gap_mean"] <= gap["gap_mean_on_arrival"]
    assert (gap["consolidate_s"], gap["rest_s"]) == (2.0, 2.0)


def test_a_fleet_that_reports_nothing_moves_nothing() -> None:
    moved = {}
    for silent in (False, True):
        fleet = Fleet(1, chunks=4, memory_mib=1000, silent=silent)
        for number, (percent, quota) in enumerate(((25, 0.5), (50, 0.6), (25, 0.5), (50, 0.4), (50, 0.5))):
            fleet.define(f"f{number}", percent, quota, memory_mib=100)
            fleet.tick()
        moved[silent] = sum(isinstance(command, MoveReplica) for command in fleet.commands)
        assert fleet.used == 1

    assert moved[False] > 0
    assert moved[True] == 0


def test_the_stream_of_a_fleet_has_every_kind_of_event() -> None:
    figures = decision_ms(devices=20, replicas=160, functions=10, seconds=7.0)
    assert {"NodeSeen", "LoadReported", "Ticked", "ReplicaReported", "PlacementKnown"} <= figures["by_event"].keys()
    assert figures["p50"] <= figures["p99"] <= figures["max"]
    assert figures["replicas"] >= 150
