"""Quotas, cold starts, losses and resizes in simulation are what the services' cores make of them."""

import dataclasses
from functools import partial
from itertools import pairwise

import pytest
from msgspec.structs import replace

from fastgshare.scheduler.core.events import FunctionDefined
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.ids import NodeId
from fastgshare.shared.messages import Autoscale, Slice
from fastgshare.shared.units import US_PER_MS, US_PER_S
from fastgshare.simulator.core.run import Failure, FunctionPlan, Run
from fastgshare.simulator.core.scene import START_US
from fastgshare.simulator.core.world import World, simulate
from tests.simulator.core.scenes import devices, function, plan, poisson, table

FLOOD_RPS = 400.0


def flooded(name: str, held: Slice, until_us: int) -> FunctionPlan:
    """More requests than any slice answers, of callers that do not wait long."""
    return plan(function(name, held=held, max_batch=1), poisson(FLOOD_RPS, until_us, seed=len(name)), US_PER_S)


def test_backlogged_neighbours_have_their_quotas_of_the_device() -> None:
    until_us = 20 * US_PER_S
    larger = flooded("a", Slice(sm_partition=100, quota_request=0.7, quota_limit=0.7), until_us)
    smaller = flooded("bb", Slice(sm_partition=100, quota_request=0.3, quota_limit=0.3), until_us)
    run = Run(devices(1), (larger, smaller), dict([table("a", 5_000), table("bb", 5_000)]), until_us)

    outcome = simulate(run)

    shares = [function.busy_us / until_us for function in outcome.functions]
    assert shares == pytest.approx([0.7, 0.3], abs=0.02)


def test_a_limit_holds_on_a_device_that_is_idle_otherwise() -> None:
    until_us = 20 * US_PER_S
    alone = flooded("a", Slice(sm_partition=50, quota_request=0.2, quota_limit=0.5), until_us)

    outcome = simulate(Run(devices(1), (alone,), dict([table("a", 5_000)]), until_us))

    # half of the chunks for half of the time
    assert outcome.functions[0].busy_us / until_us == pytest.approx(0.25, abs=0.01)
    assert outcome.devices[0].busy_us == pytest.approx(outcome.functions[0].busy_us, abs=2)
    assert outcome.devices[0].running_us / until_us == pytest.approx(0.5, abs=0.02)


def test_too_much_load_is_refused_at_once_and_what_is_taken_is_answered() -> None:
    until_us = 20 * US_PER_S
    flood = flooded("a", Slice(sm_partition=100, quota_request=0.5, quota_limit=0.5), until_us)

    outcome = simulate(Run(devices(1), (flood,), dict([table("a", 5_000)]), until_us)).functions[0]

    counts = outcome.counts
    assert counts.in_time + counts.late == pytest.approx(0.5 * 20 * 200, rel=0.06)  # half of 200 a second
    assert counts.failed <= counts.arrived // 1_000
    assert outcome.latency_us["100"] <= flood.patience_us


def test_the_first_request_waits_for_a_cold_start_and_the_last_replica_goes_when_idle() -> None:
    spec = function("f", autoscale=Autoscale(min=0, max=1))
    load_us = 800 * US_PER_MS
    function_plan = FunctionPlan(spec, [20 * US_PER_S], 10 * US_PER_S, load_us=load_us)
    settings = Settings(idle_us=4 * US_PER_S, scale_down_us=US_PER_S)
    run = Run(devices(1), (function_plan,), dict([table("f", 5_000)]), 40 * US_PER_S, settings=settings)

    outcome = simulate(run).functions[0]

    # a generation is brought up once to see whether it works, then for the request
    counts = [count for _, count in outcome.replicas]
    assert counts == [1, 0, 1, 0]
    (wait_us,) = outcome.cold_starts_us
    assert load_us < wait_us < load_us + 10 * US_PER_MS
    assert outcome.latency_us["100"] == pytest.approx(wait_us + 5_000, abs=5 * US_PER_MS)
    assert outcome.counts.late == 1


def two_nodes(failure: Failure, patience_us: int = 8 * US_PER_S) -> Run:
    """A function on two nodes, either of which could serve it alone."""
    spec = function("f", replicas=2, max_batch=4)
    arrivals = poisson(60, 30 * US_PER_S, seed=2, from_us=US_PER_S)
    tables = dict([table("f", 10_000)])
    return Run(devices(3), (plan(spec, arrivals, patience_us),), tables, 30 * US_PER_S, failures=(failure,), gateways=2)


def test_a_lost_node_costs_nobody_an_answer_who_waits_long_enough() -> None:
    first = NodeId("node-0")

    outcome = simulate(two_nodes(Failure(10 * US_PER_S, first)))

    counts = outcome.functions[0].counts
    assert (counts.refused, counts.failed) == (0, 0)
    assert counts.late <= counts.arrived // 50
    kinds = [decided.kind for decided in outcome.decisions]
    assert "node_silent" in kinds
    assert outcome.functions[0].replicas[-1][1] == 2, "it was placed anew on the spare node"
    assert all(rectangle.until_us <= 10 * US_PER_S for rectangle in outcome.rectangles if rectangle.device == "gpu-0")


def test_a_device_that_fails_and_returns_is_used_again() -> None:
    fleet = devices(3)
    failure = Failure(10 * US_PER_S, fleet[0].node, fleet[0].device, until_us=12 * US_PER_S)

    outcome = simulate(two_nodes(failure))

    counts = outcome.functions[0].counts
    assert (counts.refused, counts.failed) == (0, 0)
    again = [rectangle for rectangle in outcome.rectangles if rectangle.device == "gpu-0"]
    assert [rectangle.from_us < 10 * US_PER_S for rectangle in sorted(again, key=lambda r: r.from_us)] == [True, False]
    assert outcome.functions[0].replicas[-1][1] == 2


def test_a_node_that_returns_takes_its_replicas_up_again_or_lets_go_of_them() -> None:
    for back_us in (11 * US_PER_S, 20 * US_PER_S):
        world = World(two_nodes(Failure(10 * US_PER_S, NodeId("node-0"), until_us=back_us)))

        world.play()

        outcome = world.outcome(0.0)
        assert outcome.functions[0].counts.failed == 0
        assert outcome.functions[0].replicas[-1][1] == 2
        desired = {placement.replica for placement in world.control.bucket.values()}
        actual = {replica for node in world.nodes.values() for replica in node.statuses}
        assert desired == actual


def test_losses_that_overlap_end_with_the_last() -> None:
    run = two_nodes(Failure(5 * US_PER_S, NodeId("node-0"), until_us=20 * US_PER_S))
    device = run.devices[0].device
    others = (
        Failure(4 * US_PER_S, NodeId("node-0"), device, until_us=25 * US_PER_S),
        Failure(6 * US_PER_S, NodeId("node-0"), until_us=15 * US_PER_S),
        Failure(6 * US_PER_S, NodeId("node-1"), until_us=7 * US_PER_S),
    )
    world = World(dataclasses.replace(run, failures=(*run.failures, *others)))
    healthy = []
    for at_us in (3, 10, 17, 22, 26):
        look = START_US + at_us * US_PER_S
        world.scene.agenda.at(look, lambda _: healthy.append(world.devices[device].core.worker_ready), None)

    world.play()

    assert healthy == [True, False, False, False, True]


def test_a_quota_grows_in_place_without_a_pause() -> None:
    until_us = 20 * US_PER_S
    before = flooded("a", Slice(sm_partition=100, quota_request=0.2, quota_limit=0.2), until_us)
    world = World(Run(devices(1), (before,), dict([table("a", 5_000)]), until_us))
    grown = replace(before.spec, slice=replace(before.spec.slice, quota_request=0.8, quota_limit=0.8))
    world.scene.agenda.at(START_US + 10 * US_PER_S, world.control.tell, FunctionDefined(grown))

    world.play()

    outcome = world.outcome(0.0)
    first, second = sorted(outcome.rectangles, key=lambda rectangle: rectangle.from_us)
    assert (first.replica, first.quota_request, second.quota_request) == (second.replica, 0.2, 0.8)
    assert first.until_us == second.from_us == pytest.approx(10 * US_PER_S, abs=10 * US_PER_MS)
    assert [count for _, count in outcome.functions[0].replicas] == [1]
    busy = [sample.busy for sample in outcome.samples]
    assert sum(busy[2:10]) / 8 == pytest.approx(0.2, abs=0.03)
    assert sum(busy[12:20]) / 8 == pytest.approx(0.8, abs=0.03)


def test_memory_that_does_not_fit_is_refused_with_the_numbers() -> None:
    spec = function("f", held=Slice(gpu_mem_mib=300))
    heavy = FunctionPlan(spec, [], US_PER_S, weights_mib=400, own_mib=100)
    world = World(Run(devices(1), (heavy,), dict([table("f", 5_000)]), 5 * US_PER_S))

    world.play()

    (status,) = world.nodes[NodeId("node-0")].statuses.values()
    assert status.state == "failed"
    assert status.reason == "it needs 500 MiB (400 of weights and 100 of its own), its slice's gpu_mem_mib is 300"
    assert "generation_failed" in [decided.kind for decided in world.outcome(0.0).decisions]


def test_weights_that_are_there_are_not_loaded_again() -> None:
    spec = function("f", replicas=2, held=Slice(sm_partition=50, quota_request=1.0, quota_limit=1.0))
    twins = FunctionPlan(spec, [], US_PER_S, load_us=2 * US_PER_S, reload_us=100 * US_PER_MS, weights_mib=100)

    outcome = simulate(Run(devices(1), (twins,), dict([table("f", 5_000)]), 5 * US_PER_S)).functions[0]

    first_us, second_us = (at_us for at_us, _ in outcome.replicas)
    assert second_us - first_us == 100 * US_PER_MS


def test_what_cannot_be_simulated_is_said_at_once() -> None:
    tables = dict([table("f", 5_000)])
    spec = function("f")
    alone = partial(Run, devices(1))

    with pytest.raises(ValueError, match="arrivals of f go back to 5 us: expected them to ascend"):
        simulate(alone((plan(spec, [10, 5]),), tables, US_PER_S))
    with pytest.raises(ValueError, match="has no table for devices of kind sim-test"):
        simulate(alone((plan(spec, []),), {}, US_PER_S))
    with pytest.raises(ValueError, match="expected each name once"):
        simulate(alone((plan(spec, []), plan(spec, [])), tables, US_PER_S))
    with pytest.raises(ValueError, match="there is no such node"):
        simulate(alone((), tables, US_PER_S, failures=(Failure(1, NodeId("node-9")),)))
    with pytest.raises(ValueError, match="duration_us 0"):
        simulate(alone((), tables, 0))


def test_progress_is_told_once_a_sample() -> None:
    told: list[tuple[int, int]] = []
    run = Run(devices(1), (plan(function(), [US_PER_S]),), dict([table("f", 5_000)]), 3 * US_PER_S)

    simulate(run, lambda at_us, requests: told.append((at_us, requests)))

    assert [at_us for at_us, _ in told] == [0, US_PER_S, 2 * US_PER_S, 3 * US_PER_S]
    assert all(before <= after for (_, before), (_, after) in pairwise(told))
