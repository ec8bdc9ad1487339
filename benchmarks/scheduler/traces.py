"""Arrivals of the fidelity benchmark: Poisson at one rate after the other; one seed, the same arrivals. Pure."""

import random
from collections.abc import Mapping

import msgspec

from fastgshare.shared.units import US_PER_S

GAP_US = US_PER_S // 2
"""Between two levels, for what is left of the one before."""


class Level(msgspec.Struct, frozen=True):
    """Load on the device as a share of what it can do, for `seconds`; callers wait `patience_us` for an answer, and no
    longer; `arrivals_us` by function, from its start."""

    load: float
    seconds: float
    patience_us: int
    arrivals_us: dict[str, tuple[int, ...]]

    @property
    def duration_us(self) -> int:
        """How long requests arrive."""
        return round(self.seconds * US_PER_S)


def levels(
    loads: Mapping[float, int], seconds: float, capacity_rps: float, shares: Mapping[str, float], seed: int
) -> list[Level]:
    """A level for each of `loads`, with the patience it names; each function has its share of the load."""
    return [
        Level(
            load,
            seconds,
            patience_us,
            {
                name: poisson(load * share * capacity_rps, seconds, f"{seed} {load} {name}")
                for name, share in shares.items()
            },
        )
        for load, patience_us in loads.items()
    ]


def poisson(rate_rps: float, seconds: float, seed: str) -> tuple[int, ...]:
    """When requests arrive, in microseconds, ascending."""
    chance = random.Random(seed)
    at_s, found = chance.expovariate(rate_rps), []
    while at_s < seconds:
        found.append(round(at_s * US_PER_S))
        at_s += chance.expovariate(rate_rps)
    return tuple(found)
