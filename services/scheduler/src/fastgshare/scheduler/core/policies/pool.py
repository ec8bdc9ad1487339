"""Replicas that serve one queue together, as numbers of equal ones: what thousands take costs no more than a few. Pure.

What a replica takes depends on how many serve beside it (`menu.POOLS`): as many as the largest of them would make,
rounded down, so that one that is much larger than the others gains little from them.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from fastgshare.scheduler.core.menu import POOLS, Menu, Option

TIE = 1e-6


class Equals(NamedTuple):
    """So many replicas of one size."""

    option: Option
    many: int


class Pool:
    """A number for each option. Options are told apart as objects: a menu makes each but once."""

    def __init__(self, options: Iterable[Option] = ()) -> None:
        there = tuple(options)
        known = {id(option): option for option in there}
        self._groups = {place: Equals(known[place], many) for place, many in Counter(map(id, there)).items()}

    def add(self, option: Option, many: int = 1) -> None:
        """More of them; fewer, where `many` is negative."""
        known = self._groups.get(id(option))
        left = (known.many if known is not None else 0) + many
        if left:
            self._groups[id(option)] = Equals(option, left)
        else:
            self._groups.pop(id(option), None)

    def swap(self, before: Option, after: Option, many: int = 1) -> None:
        """Some take another size."""
        self.add(before, -many)
        self.add(after, many)

    def with_all(self, groups: Iterable[Equals]) -> "Pool":
        """This and those."""
        both = Pool()
        both._groups = dict(self._groups)
        for option, many in groups:
            both.add(option, many)
        return both

    @property
    def level(self) -> int:
        """Which of `POOLS` they come up to."""
        largest = done_rps = 0.0
        for option, many in self._groups.values():
            largest = max(largest, option.bare_rps)
            done_rps += option.bare_rps * many
        return max(bisect_right(POOLS, (done_rps / largest if largest > 0 else 1.0) + TIE) - 1, 0)

    @property
    def rps(self) -> float:
        """What they take together."""
        return self.rps_at(self.level)

    def rps_at(self, number: int) -> float:
        """What they would take at this level."""
        return sum(option.rates[number] * many for option, many in self._groups.values())


def pooled_rps(options: Iterable[Option]) -> float:
    """What replicas take together."""
    return Pool(options).rps


def weight(groups: Iterable[Equals], menu: Menu) -> float:
    """What they cost, and something for what is awkward to pack."""
    return sum(menu.weight(option) * many for option, many in groups)


def listed(groups: Iterable[Equals]) -> list[Option]:
    """One by one."""
    return [option for option, many in groups for _ in range(many)]


@dataclass(slots=True)
class Balance:
    """What must be taken by all, and by those that are ready, while one after the other goes or takes less."""

    pool: Pool
    ready: Pool
    target_rps: float
    ready_rps: float

    def spare(self, option: Option, is_ready: bool, most: int) -> int:
        """Let go of as many of these as can be missed, up to `most`; returns how many."""
        enough, too_many = 0, most + 1
        gone = 0
        trying = most
        while enough + 1 < too_many:
            for pool in self._pools(is_ready):
                pool.add(option, gone - trying)
            gone = trying
            if self._is_enough():
                enough = trying
            else:
                too_many = trying
            trying = (enough + too_many) // 2
        for pool in self._pools(is_ready):
            pool.add(option, gone - enough)
        return enough

    def with_less(self, before: Option, after: Option, is_ready: bool) -> bool:
        """One with a smaller quota; False, and as it was, where that is not enough."""
        for pool in self._pools(is_ready):
            pool.swap(before, after)
        if self._is_enough():
            return True
        for pool in self._pools(is_ready):
            pool.swap(after, before)
        return False

    def _pools(self, is_ready: bool) -> tuple[Pool, ...]:
        return (self.pool, self.ready) if is_ready else (self.pool,)

    def _is_enough(self) -> bool:
        return self.pool.rps >= self.target_rps - TIE and self.ready.rps >= self.ready_rps - TIE
