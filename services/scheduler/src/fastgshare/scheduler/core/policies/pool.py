"""Replicas that serve one queue together, as numbers of equal ones: what thousands take costs no more than a few. Pure.

What a replica takes depends on how many serve beside it (`menu.POOLS`): as many as the largest of them would make,
rounded down, so that one that is much larger than the others gains little from them.
"""

from bisect import bisect_right
from collections.abc import Iterable
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
        self._groups: dict[int, Equals] = {}
        for option in options:
            known = self._groups.get(id(option))
            self._groups[id(option)] = Equals(option, known.many + 1 if known is not None else 1)

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
        largest = max((option.bare_rps for option, _ in self._groups.values()), default=0.0)
        done_rps = sum(option.bare_rps * many for option, many in self._groups.values())
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
