"""How many requests a second a slice takes while its objective's percentile is met, waiting included. Pure.

Requests come by a Poisson process, are served in batches of up to `k`, and a batch of device time `d` under a quota `q`
pays for its token for `S = d / q` before the next starts on what the slice is promised: a queue with batch service and
a fixed time `S`. Its backlog `Q` in requests falls off at least exponentially, `P(Q > x) <= exp(-theta * x / k)`, where
`rho * (exp(theta) - 1) = theta` at the load `rho = rate * S / k` (Lundberg's inequality; Asmussen, *Applied Probability
and Queues*, XIII.5; for `k = 1` it bounds the waiting time of M/D/1). So with probability `p` a request is answered
within

    d + S * (k - 1) / k + (S / k) * ln(1 / (1 - p)) / theta(rho)

its own batch, the rest of the one under way, and the backlog in front. `theta` gives the load in closed form,
`rho = theta / (exp(theta) - 1)`, so that the largest rate within an objective needs no search; near saturation
`1 / theta` grows as `rho / (1 - rho)` does. Where the latency of Poisson arrivals at 80 % of the capacity was measured,
what waiting it shows is scaled by `1 / theta` and taken where it is more than the formula's.

Several replicas serve one queue in effect, as each request goes to the one expected to finish first: what waits goes
down as many times as fast as there are replicas of a size. One gateway comes up to that (least work first among `c`
against the formula with `c`: within a fifth at loads of 0.4 to 0.92 and 2 to 16 replicas); with two that do not see
each other's requests more waits, which `c ** POOLING` covers up to a load of 0.85.

Who has less than a whole quota may have to wait for the slots of wider neighbours. Beside neighbours at three quarters
of their load that was up to `TURN` of the part of a window that belongs to others, at any load of its own; time that
they leave makes everything else shorter than is said here. `tests/scheduler/core/test_queueing.py` holds all this
against the node manager's token book in virtual time.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from fastgshare.shared.units import US_PER_S

POOLING = 0.75
TURN = 0.8
"""Of the time of a window that others have, what is waited at worst for one's own turn."""
MEASURED_LOAD = 0.8
"""The load at which tables have latencies."""
SUREST = 0.9999
"""A percentile of 100 is never certain; this stands for it."""
MOST_DECAY = 30.0
"""Beyond this no load worth the name is left."""


class Batching(NamedTuple):
    """Batches of up to `size`: each runs `device_us`, and the next starts `spent_us` after it at the earliest.

    `waited_us`: what requests were measured to wait at `MEASURED_LOAD`, at the objective's percentile; 0: not measured.
    """

    size: int
    device_us: float
    spent_us: float
    waited_us: float = 0.0


class Sustained(NamedTuple):
    """Requests a second within the objective, in batches of up to `batch`, and `least_us`, the latency without load."""

    rps: float
    batch: int
    least_us: float


def load_at(decay: float) -> float:
    """The load whose backlog falls off with `decay`: 1 at 0, falling."""
    return decay / math.expm1(decay) if decay > 0 else 1.0


def decay_at(load: float) -> float:
    """The inverse of `load_at`, for loads above 0; 0 from a load of 1 on."""
    if load >= 1:
        return 0.0
    low, high = 0.0, MOST_DECAY
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if load_at(middle) > load else (low, middle)
    return low


MEASURED_DECAY = decay_at(MEASURED_LOAD)


def sustained(
    batchings: Sequence[Batching], objective_us: float, tail: float, turn_us: float, pool: float = 1.0
) -> Sustained:
    """The most that one replica answers within `objective_us` but for `tail` (see `tail_of`) of the requests.

    `batchings`: the sizes that may be run; the best counts. `turn_us`: what may be waited for one's turn (`turn_at`).
    `pool`: how many replicas of its size serve together.
    """
    return sustained_by(batchings, objective_us, tail, turn_us, (pool,))[0]


def sustained_by(
    batchings: Sequence[Batching], objective_us: float, tail: float, turn_us: float, pools: Sequence[float]
) -> list[Sustained]:
    """`sustained` for each of `pools`, for hardly more than one of them takes."""
    best = [Sustained(0.0, 0, math.inf)] * len(pools)
    for batching in batchings:
        least_us = batching.device_us + turn_us
        queue_us = objective_us - batching.device_us - _under_way_us(batching)
        is_able = objective_us >= least_us and queue_us > 0
        decay_alone = _scale_us(batching, tail) / queue_us if is_able else math.inf
        most_rps = batching.size * US_PER_S / batching.spent_us
        for at, pool in enumerate(pools):
            decay = decay_alone / _drain(pool)
            rps = load_at(decay) * most_rps if decay <= MOST_DECAY else 0.0
            if rps > best[at].rps or (rps == best[at].rps and least_us < best[at].least_us):
                best[at] = Sustained(rps, batching.size, least_us)
    return best


def latency_us(batching: Batching, rate_rps: float, tail: float, turn_us: float, pool: float = 1.0) -> float:
    """Within what time all but `tail` are answered at `rate_rps` for each replica; infinite from saturation on."""
    decay = decay_at(rate_rps * batching.spent_us / batching.size / US_PER_S)
    if decay <= 0:
        return math.inf
    queued_us = _under_way_us(batching) + _scale_us(batching, tail) / decay / _drain(pool)
    return batching.device_us + max(queued_us, turn_us)


def tail_of(percentile: float) -> float:
    """The share of requests that may be later, never none."""
    return 1 - min(percentile / 100, SUREST)


def turn_at(quota: float, window_us: int) -> float:
    """What may have to be waited for one's turn where wider neighbours have slots."""
    return TURN * (1 - min(quota, 1.0)) * window_us


@cache
def _drain(pool: float) -> float:
    """How many times as fast what waits goes down."""
    return math.pow(pool, POOLING)


def _under_way_us(batching: Batching) -> float:
    return batching.spent_us * (batching.size - 1) / batching.size


def _scale_us(batching: Batching, tail: float) -> float:
    """What waiting is a multiple of: the formula's, or the measured one's if that is more."""
    told_us = batching.spent_us / batching.size * math.log(1 / tail)
    return max(told_us, batching.waited_us * MEASURED_DECAY)
