"""Sets of new slices that cover a rate, and the cheapest of them. Pure.

A set is as many of a tier's efficient slice as go into the rate, or one less, and the cheapest that takes the rest.
"""

from collections.abc import Iterable, Sequence

from fastgshare.scheduler.core.menu import POOLS, Menu, Option, Tier
from fastgshare.scheduler.core.policies.pool import TIE, Equals, Pool, listed, weight


def fresh(menu: Menu, rps: float, room: int) -> list[Option]:
    """The cheapest set of at most `room` slices that takes `rps`; the largest there are where none does."""
    return listed(cheapest(menu, rps, room))


def cheapest(menu: Menu, rps: float, room: int) -> list[Equals]:
    """`fresh`, as numbers of equal ones."""
    sets = [groups for tier in menu.tiers if tier.pool <= room for groups in sets_of(tier, rps, room)]
    rates = [Pool().with_all(groups).rps for groups in sets]
    able = [groups for groups, taken_rps in zip(sets, rates, strict=True) if taken_rps >= rps - TIE]
    if able:
        return min(able, key=lambda groups: (round(weight(groups, menu), 9), number_of(groups)))
    return sets[max(range(len(sets)), key=rates.__getitem__)] if sets else []


def preferred(menus: Sequence[Menu], rps: float, room: int) -> Menu:
    """The kind of device on which so much costs least; then one that takes most of it, then the quickest."""

    def price(menu: Menu) -> tuple[bool, float, float]:
        if not menu.tiers:
            return True, 0.0, menu.closest.least_us
        groups = cheapest(menu, rps, room) or [Equals(menu.smallest, 1)]
        short_rps = max(rps - Pool().with_all(groups).rps, 0.0)
        return False, round(short_rps, 6), round(weight(groups, menu), 9)

    return min(menus, key=price)


def sets_of(tier: Tier, rps: float, room: int) -> list[list[Equals]]:
    """What would cover a rate with slices of a tier: as many efficient ones as go into it, or one less, and a rest."""
    best, number = tier.best, POOLS.index(tier.pool)
    if best.rates[number] * room < rps:
        best = tier.covering(rps / room) or tier.frontier[-1]
    each_rps = best.rates[number]
    whole = min(int(rps / each_rps + TIE), room)
    sets = [[Equals(best, min(whole + 1, room))]]
    for many in dict.fromkeys((whole, max(whole - 1, 0))):
        rest_rps = rps - many * each_rps
        rest = tier.covering(rest_rps) if rest_rps > TIE else None
        some = [Equals(best, many)] if many else []
        if rest_rps <= TIE:
            sets.append(some)
        elif rest is not None and many < room:
            sets.append([*some, Equals(rest, 1)])
    return sets


def number_of(groups: Iterable[Equals]) -> int:
    """How many replicas they are."""
    return sum(many for _, many in groups)
