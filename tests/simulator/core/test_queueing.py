"""Waits in simulated queues are those that queueing theory, and slow replays of the same arrivals, know."""

import heapq

import pytest

from fastgshare.shared.messages import Slice
from fastgshare.shared.units import US_PER_S
from fastgshare.simulator.core.outcome import FunctionOutcome
from fastgshare.simulator.core.run import Run
from fastgshare.simulator.core.world import simulate
from tests.simulator.core.scenes import NO_HOPS, devices, function, plan, poisson, table

BATCH_US = 10_000
LENGTH_US = 150 * US_PER_S
WARM_US = US_PER_S


def mean_wait_us(arrivals: list[int], servers: int) -> float:
    """One queue, first come first served, before servers that take `BATCH_US` for each."""
    free_at_us = [0] * servers
    waited_us = 0
    for arrival_us in arrivals:
        start_us = max(arrival_us, heapq.heappop(free_at_us))
        heapq.heappush(free_at_us, start_us + BATCH_US)
        waited_us += start_us - arrival_us
    return waited_us / len(arrivals)


def simulated(arrivals: list[int], replicas: int) -> FunctionOutcome:
    """One request at a time on whole devices."""
    spec = function(max_batch=1, replicas=replicas, slo_ms=10_000)
    run = Run(devices(replicas), (plan(spec, arrivals),), dict([table("f", BATCH_US)]), LENGTH_US, hops=NO_HOPS)
    return simulate(run).functions[0]


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_one_replica_is_an_m_d_1_queue(load: float) -> None:
    """Pollaczek and Khinchine: a mean wait of load / (2 (1 - load)) of the service time."""
    arrivals = list(poisson(load * US_PER_S / BATCH_US, LENGTH_US, seed=7, from_us=WARM_US))

    outcome = simulated(arrivals, replicas=1)

    assert outcome.counts.in_time == len(arrivals)
    wait_us = outcome.mean_us - BATCH_US
    assert wait_us == pytest.approx(mean_wait_us(arrivals, 1), rel=0.01)
    assert wait_us == pytest.approx(load / (2 * (1 - load)) * BATCH_US, rel=0.15)


def test_two_replicas_lie_between_one_queue_for_both_and_blind_chance() -> None:
    """The gateway hears of completions a few milliseconds late, so it is a little worse than a queue for both."""
    load = 0.8
    arrivals = list(poisson(2 * load * US_PER_S / BATCH_US, LENGTH_US, seed=3, from_us=WARM_US))

    wait_us = simulated(arrivals, replicas=2).mean_us - BATCH_US

    by_chance_us = load / (2 * (1 - load)) * BATCH_US
    assert mean_wait_us(arrivals, 2) * 0.99 <= wait_us <= 0.75 * by_chance_us


def test_batches_form_under_load_and_answer_what_one_at_a_time_could_not() -> None:
    arrivals = list(poisson(3 * US_PER_S / BATCH_US, 20 * US_PER_S, seed=5, from_us=WARM_US))
    spec = function(max_batch=8, slo_ms=100, held=Slice(sm_partition=100, quota_request=1.0, quota_limit=1.0))
    run = Run(devices(1), (plan(spec, arrivals),), dict([table("f", BATCH_US)]), 20 * US_PER_S)

    outcome = simulate(run).functions[0]

    assert outcome.counts.in_time == len(arrivals)
    assert outcome.batches < len(arrivals) / 2
