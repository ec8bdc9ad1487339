"""When requests come: a rate over time, and how evenly they are spaced under it. Pure: chance comes from a seed.

An arrival process here is a renewal process of mean gap 1, bent by the rate: with `L(t)` the requests to be expected
until `t`, the n-th request comes at `L^-1` of the sum of the first n gaps. Gaps are Gamma distributed with a chosen
coefficient of variation: 1 gives a Poisson process, 0 even spacing, more gives bursts. (Time rescaling: Daley and
Vere-Jones 2003, section 7.4; Gamma gaps with a chosen variation, as in AlpaServe and DistServe's workloads.)

Times are integer microseconds, ascending, made in blocks while they are asked for.
"""

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastgshare.shared.units import US_PER_S, us_to_s

Floats = npt.NDArray[np.float64]

BLOCK = 8_192
MAX_CV = 20.0
POINTS_A_PERIOD = 720
"""Of a wave: straight between them, so nowhere off by more than 1e-5 of the amplitude, up to `MAX_POINTS` in all."""
MAX_POINTS = 1_000_000
"""Of longer waves than 1,388 periods there are fewer points a period, so that they are less round."""


@dataclass(frozen=True, slots=True)
class Load:
    """A rate over time: `expected[i]` requests until `times_s[i]`, straight between; nothing before and after.

    Both ascend and have the same length, at least 2.
    """

    times_s: Floats
    expected: Floats

    @property
    def requests(self) -> float:
        """To be expected in all."""
        return float(self.expected[-1])


def steady(rps: float, until_s: float) -> Load:
    """The same rate from 0 on."""
    return Load(np.array([0.0, until_s]), np.array([0.0, rps * until_s]))


def stepped(steps: Sequence[tuple[float, float]], until_s: float) -> Load:
    """`steps` are (from second, requests a second), ascending; each lasts until the next, the last to the end."""
    kept = [(from_s, rps) for from_s, rps in steps if from_s < until_s]
    edges = np.array([from_s for from_s, _ in kept] + [until_s])
    rates = np.array([rps for _, rps in kept])
    if not kept:
        return steady(0.0, until_s)
    return Load(edges, np.concatenate([[0.0], np.cumsum(rates * np.diff(edges))]))


def wave(mean_rps: float, peak_ratio: float, period_s: float, peak_at_s: float, until_s: float) -> Load:
    """A cosine around the mean: `peak_ratio` times the mean at `peak_at_s`, then every `period_s`."""
    points = min(math.ceil(POINTS_A_PERIOD * until_s / period_s), MAX_POINTS) + 1
    times_s = np.linspace(0.0, until_s, max(points, 2))
    turn = 2 * math.pi / period_s
    swing = (peak_ratio - 1) / turn
    grown = times_s + swing * (np.sin(turn * (times_s - peak_at_s)) + math.sin(turn * peak_at_s))
    return Load(times_s, np.maximum.accumulate(mean_rps * grown))


def arrivals(load: Load, cv: float, seed: int, *, from_us: int = 0, until_us: int | None = None) -> Iterator[int]:
    """The process under this load, shifted by `from_us` and cut off at `until_us`.

    `cv` is the coefficient of variation of the gaps where the rate is steady, 0 to `MAX_CV`.
    """
    chance = np.random.default_rng(seed)
    passed = float(chance.random()) if cv == 0 else 0.0
    while passed < load.requests:
        sums = passed + np.cumsum(_gaps(chance, cv))
        passed = float(sums[-1])
        sums = sums[sums < load.requests]
        times_us = from_us + np.interp(sums, load.expected, load.times_s) * US_PER_S
        if until_us is not None and len(times_us) and times_us[-1] >= until_us:
            yield from times_us[times_us < until_us].astype(np.int64).tolist()
            return
        yield from times_us.astype(np.int64).tolist()


def recorded(
    times_s: Floats, scale: float, seed: int, *, from_us: int = 0, until_us: int | None = None
) -> Iterator[int]:
    """Arrivals as they were recorded (seconds, ascending), `scale` times as many.

    Each comes `scale` times on average: the first at its own time, more of them anywhere before the next one.
    """
    chance = np.random.default_rng(seed)
    for start in range(0, len(times_s), BLOCK):
        own = times_s[start : start + BLOCK]
        if scale != 1.0:
            following = times_s[start + 1 : start + BLOCK + 1]
            own = _scaled(own, np.append(following, own[len(following) :]), scale, chance)
        times_us = from_us + np.floor(own * US_PER_S).astype(np.int64)
        yield from (times_us if until_us is None else times_us[times_us < until_us]).tolist()


def merged(parts: Sequence[Iterable[int]]) -> Iterable[int]:
    """All of them, ascending."""
    return parts[0] if len(parts) == 1 else heapq.merge(*parts)


def seed_for(seed: int, *place: int) -> int:
    """A seed of its own for each place, so that one function's traffic does not hang on another's."""
    return int(np.random.SeedSequence([seed, *place]).generate_state(1, np.uint64)[0])


def rate_at(load: Load, at_us: int) -> float:
    """Requests a second at a moment; 0 outside."""
    at_s = us_to_s(at_us)
    index = int(np.searchsorted(load.times_s, at_s, side="right"))
    if index in (0, len(load.times_s)):
        return 0.0
    grown = load.expected[index] - load.expected[index - 1]
    return float(grown / (load.times_s[index] - load.times_s[index - 1]))


def _gaps(chance: np.random.Generator, cv: float) -> Floats:
    if cv == 0:
        return np.ones(BLOCK)
    if cv == 1:
        return chance.standard_exponential(BLOCK)
    shape = 1 / cv**2
    return chance.standard_gamma(shape, BLOCK) / shape


def _scaled(own: Floats, following: Floats, scale: float, chance: np.random.Generator) -> Floats:
    whole = math.floor(scale)
    owner = np.repeat(np.arange(len(own)), whole + (chance.random(len(own)) < scale - whole))
    is_copy = np.append(False, owner[1:] == owner[:-1])[: len(owner)]
    times_s: Floats = own[owner] + is_copy * (following - own)[owner] * chance.random(len(owner))
    return np.sort(times_s)
