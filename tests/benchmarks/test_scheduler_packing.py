"""The scheduler's benchmarks in small: what they say holds for a few cases too."""

import pytest

from benchmarks.scheduler.scale import decision_ms


def test_every_order_tried_places_all_eight_and_random_mixes_come_near_the_fewest_devices() -> None:
    pytest.importorskip("ortools")
    from benchmarks.scheduler.packing import gap_to_optimal, orders_placed

    orders = orders_placed(10)
    assert orders["orders_placed"] == orders["orders"]
    assert orders["orders_placed_without_repacking"] < orders["orders"]
    gap = gap_to_optimal(count=3, seed=3)
    assert gap["devices_optimal"] <= gap["devices"] <= gap["devices_on_arrival"]
    assert gap["devices"] <= gap["devices_optimal"] + 1


def test_the_stream_of_a_fleet_has_every_kind_of_event() -> None:
    figures = decision_ms(devices=20, replicas=160, functions=10, seconds=7.0)
    assert {"NodeSeen", "LoadReported", "Ticked", "ReplicaReported", "PlacementKnown"} <= figures["by_event"].keys()
    assert figures["p50"] <= figures["p99"] <= figures["max"]
    assert figures["replicas"] >= 150
