"""Predicted latencies against the node manager's token book in virtual time, request by request."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.node_manager.core.timetable import Share
from fastgshare.scheduler.core.menu import Option, menu_of
from fastgshare.scheduler.core.policies.sets import fresh
from fastgshare.scheduler.core.queueing import (
    Batching,
    decay_at,
    latency_us,
    load_at,
    sustained,
    tail_of,
    turn_at,
)
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.tables import Table
from tests.scheduler.core.tables import CHUNKS, curve, table
from tests.scheduler.core.virtual_device import Tenant, play
from tests.scheduler.core.world import S, spec

WINDOW_US = 100_000
ROUNDING = 1e-9
TAIL = tail_of(99)
END_US = 60 * S


def poisson(rate_rps: float, seed: int = 1) -> list[int]:
    random, at_s, arrivals = Random(seed), 0.0, []
    while (at_s := at_s + random.expovariate(rate_rps)) < END_US / S:
        arrivals.append(int(at_s * S))
    return arrivals


def p99(latencies_us: list[int]) -> int:
    return sorted(latencies_us)[int(0.99 * len(latencies_us))]


def permille(quota: float) -> int:
    return round(quota * 1000)


@pytest.mark.parametrize("load", [0.4, 0.6, 0.8])
@pytest.mark.parametrize(("first_us", "more_us", "limit"), [(3_000, 1_500, 4), (8_000, 2_000, 1), (13_000, 7_000, 1)])
@pytest.mark.parametrize("quota", [0.4, 0.7, 1.0])
@pytest.mark.parametrize("neighbour", ["nobody", "same chunks", "wider"])
def test_what_is_predicted_holds_on_a_device(
    quota: float, first_us: int, more_us: int, limit: int, load: float, neighbour: str
) -> None:
    """Nobody, somebody with work all the time on the same chunks, or a wider one at three quarters of its share."""

    def device_us(size: int) -> int:
        return first_us + more_us * (size - 1)

    spent_us = device_us(limit) / quota
    rate_rps = load * limit * S / spent_us
    limit_of_time = 1000 if neighbour == "wider" else permille(quota)
    tenant = Tenant(Share(0b11, permille(quota), limit_of_time), device_us, limit, poisson(rate_rps))
    beside = []
    if quota < 1 and neighbour == "same chunks":
        beside = [Tenant(Share(0b11, permille(1 - quota), 1000), lambda _: 8_000, 1, None)]
    elif quota < 1 and neighbour == "wider":
        theirs = 0.9 * (1 - quota)
        their_rps = 0.75 * theirs * S / 4_000
        beside = [Tenant(Share(0b1111, permille(theirs), 1000), lambda _: 4_000, 1, poisson(their_rps, seed=2))]
    play([tenant, *beside], 4, WINDOW_US, END_US)
    predicted_us = latency_us(Batching(limit, device_us(limit), spent_us), rate_rps, TAIL, turn_at(quota, WINDOW_US))
    assert predicted_us >= 0.8 * p99(tenant.latencies_us)


@pytest.mark.parametrize(
    ("model", "slo_ms", "rate_rps"),
    [("resnet50", 69, 20), ("resnet50", 69, 110), ("resnet50", 150, 60), ("bert", 200, 60), ("gnmt", 300, 10)],
)
def test_a_set_of_slices_keeps_the_objective_it_was_chosen_for(model: str, slo_ms: float, rate_rps: float) -> None:
    read = Table.of(table(curve(model), "m"))
    assert read is not None
    menu = menu_of(read, spec(slo_ms=slo_ms), CHUNKS, Settings())
    chosen = fresh(menu, rate_rps, 16)
    tenants, first = [], 0
    for option in chosen:
        wide = round(option.share * CHUNKS)
        tenants.append(tenant_on(option, model, ((1 << wide) - 1) << first))
        first += wide
    play(tenants, first, WINDOW_US, END_US, poisson(rate_rps))
    latencies_us = [latency for tenant in tenants for latency in tenant.latencies_us]
    late = sum(latency > slo_ms * 1000 for latency in latencies_us)
    assert len(latencies_us) > 500
    assert late <= 0.01 * len(latencies_us)


def tenant_on(option: Option, model: str, mask: int) -> Tenant:
    """A replica on that slice, whose neighbours slow it down as much as they may."""
    speed, stretch = curve(model), 1 + Settings().stretch * (1 - option.share)
    budget_us = WINDOW_US // (10 if option.quota < 1 else 5)
    fitting = [size for size in range(1, 9) if speed.batch_us(100 * option.share, size) <= budget_us]

    def device_us(size: int) -> int:
        return round(speed.batch_us(100 * option.share, size) * stretch)

    share = Share(mask, permille(option.quota), permille(option.quota))
    return Tenant(share, device_us, max(fitting, default=1), ())


@given(st.floats(0.02, 0.98))
def test_load_and_decay_are_inverse(load: float) -> None:
    assert load_at(decay_at(load)) == pytest.approx(load, abs=1e-6)


@given(st.floats(1_000, 100_000), st.sampled_from([1, 2, 4, 8]), st.floats(0.1, 1.0), st.floats(10_000, 2_000_000))
def test_the_sustained_rate_just_meets_the_objective(
    device_us: float, size: int, quota: float, objective_us: float
) -> None:
    batching = Batching(size, device_us, device_us / quota)
    told = sustained([batching], objective_us, TAIL, 0.0)
    if told.rps > 0:
        assert latency_us(batching, told.rps, TAIL, 0.0) == pytest.approx(objective_us, rel=0.01)
        assert told.rps <= size * S / batching.spent_us
    else:
        assert latency_us(batching, 1e-6, TAIL, 0.0) > objective_us * 0.5 or size > 1


@given(st.floats(20_000, 500_000), st.floats(1.0, 2.0))
def test_a_looser_objective_or_more_replicas_never_take_less(objective_us: float, looser: float) -> None:
    batchings = [Batching(1, 10_000, 20_000), Batching(4, 22_000, 44_000)]
    tight = sustained(batchings, objective_us, TAIL, 5_000)
    assert sustained(batchings, objective_us * looser, TAIL, 5_000).rps >= tight.rps * (1 - ROUNDING)
    assert sustained(batchings, objective_us, TAIL, 5_000, pool=looser).rps >= tight.rps * (1 - ROUNDING)


def test_what_was_measured_to_wait_counts_where_it_is_more() -> None:
    plain = sustained([Batching(1, 10_000, 10_000)], 100_000, TAIL, 0.0)
    slower = sustained([Batching(1, 10_000, 10_000, waited_us=300_000)], 100_000, TAIL, 0.0)
    assert 0 < slower.rps < plain.rps
    assert sustained([Batching(1, 10_000, 10_000, waited_us=1_000)], 100_000, TAIL, 0.0) == plain
