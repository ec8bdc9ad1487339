"""Windows on one device moved so that one more fits: the fewest moves, in an order in which each fits by itself.

Windows of the same shape are the same thing here. Which arrangement: a search from the first chunk to the last over
how many windows of each shape begin there, for one move, then two, and so on; a branch ends where what is left to place
has more area than there is, or more of it has to move than may. Which order: a window goes where it belongs as soon as
there is room, and where none can, one is parked elsewhere. Both give up after `effort` steps, so None means
that none was found, not that there is none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from fastgshare.scheduler.core.books import Key
from fastgshare.shared.units import PER_MILLE

MAX_PARKED = 3


class Shape(NamedTuple):
    """So many neighbouring chunks, and parts per thousand of their time."""

    wide: int
    share: int


class Item(NamedTuple):
    """A window that may move."""

    key: Key
    shape: Shape
    first: int


class Move(NamedTuple):
    """This item goes over to the window that begins here."""

    key: Key
    first: int


class Solution(NamedTuple):
    """Moves in order, where the new window begins after them, and the steps it took to find out."""

    moves: tuple[Move, ...]
    first: int


class _Exhausted(Exception):
    """The search took all the steps it had."""


@dataclass(slots=True)
class Effort:
    """How many steps are left."""

    left: int

    def spend(self) -> None:
        """One step."""
        self.left -= 1
        if self.left < 0:
            raise _Exhausted


def rearranged(fixed: Sequence[int], items: Sequence[Item], new: Shape, effort: Effort) -> Solution | None:
    """How `new` comes to fit beside `items` on chunks with the `fixed` load; the items fit as they are."""
    area = new.wide * new.share + sum(item.shape.wide * item.shape.share for item in items)
    if area > sum(PER_MILLE - load for load in fixed):
        return None
    try:
        for moves in range(len(items) + 1):
            search = _Search(list(fixed), items, new, effort)
            for starts in search.arrangements(moves):
                answer = _ordered(fixed, items, new, starts, effort)
                if answer is not None:
                    return answer
    except _Exhausted:
        return None
    return None


def holds_all(fixed: Sequence[int], shapes: Sequence[Shape], effort: Effort) -> bool:
    """Whether an arrangement of these windows was found, whatever moves lead to it."""
    if not shapes:
        return True
    if sum(shape.wide * shape.share for shape in shapes) > sum(PER_MILLE - load for load in fixed):
        return False
    nowhere = [Item("", shape, len(fixed)) for shape in shapes[1:]]
    try:
        return any(True for _ in _Search(list(fixed), nowhere, shapes[0], effort).arrangements(len(shapes)))
    except _Exhausted:
        return False


_Position = tuple[int, int, tuple[int, ...], tuple[int, ...], int]


@dataclass(slots=True)
class _Search:
    """Arrangements with at most so many moves, chunk by chunk."""

    fixed: list[int]
    items: Sequence[Item]
    new: Shape
    effort: Effort
    shapes: list[Shape] = field(default_factory=list)
    here: list[list[int]] = field(default_factory=list)
    """By shape and chunk, how many begin there now."""
    ahead: list[list[int]] = field(default_factory=list)
    """By shape and chunk, how many begin there or later."""
    failed: dict[_Position, bool] = field(default_factory=dict)
    taken: list[tuple[Shape, int]] = field(default_factory=list)

    def arrangements(self, moves: int) -> Iterator[list[tuple[Shape, int]]]:
        """Where windows of which shape begin."""
        shapes = {self.new: True, **{item.shape: True for item in self.items}}
        self.shapes = sorted(shapes, key=lambda shape: (-shape.wide * shape.share, shape))
        chunks = len(self.fixed)
        for shape in self.shapes:
            row = [0] * (chunks + 1)
            for item in self.items:
                if item.shape == shape:
                    row[item.first] += 1
            self.here.append(row)
            self.ahead.append([sum(row[chunk:]) for chunk in range(chunks + 1)])
        wanted = [sum(item.shape == shape for item in self.items) + (shape == self.new) for shape in self.shapes]
        yield from self._from(0, 0, tuple(wanted), tuple(self.fixed), moves + 1, 0)

    def _from(
        self, chunk: int, kind: int, left: tuple[int, ...], loads: tuple[int, ...], spare: int, begun: int
    ) -> Iterator[list[tuple[Shape, int]]]:
        """`begun` windows of shape number `kind` begin at `chunk` so far; `spare` may still be elsewhere than now."""
        if not any(left):
            yield list(self.taken)
            return
        if chunk == len(self.fixed):
            return
        known = (chunk, kind, left, loads[chunk:], spare * 64 + begun)
        if known in self.failed or not self._possible(chunk, kind, left, loads, spare, begun):
            return
        self.effort.spend()
        found = False
        for arrangement in self._options(chunk, kind, left, loads, spare, begun):
            found = True
            yield arrangement
        if not found:
            self.failed[known] = True

    def _options(
        self, chunk: int, kind: int, left: tuple[int, ...], loads: tuple[int, ...], spare: int, begun: int
    ) -> Iterator[list[tuple[Shape, int]]]:
        """One more of this shape here, or go on with the next shape, and after the last with the next chunk."""
        shape = self.shapes[kind]
        end = chunk + shape.wide
        if left[kind] and end <= len(loads) and max(loads[chunk:end]) + shape.share <= PER_MILLE:
            costs = 0 if begun < self.here[kind][chunk] else 1
            if costs <= spare:
                fewer = (*left[:kind], left[kind] - 1, *left[kind + 1 :])
                fuller = (*loads[:chunk], *(load + shape.share for load in loads[chunk:end]), *loads[end:])
                self.taken.append((shape, chunk))
                yield from self._from(chunk, kind, fewer, fuller, spare - costs, begun + 1)
                self.taken.pop()
        if kind + 1 < len(self.shapes):
            yield from self._from(chunk, kind + 1, left, loads, spare, 0)
        else:
            yield from self._from(chunk + 1, 0, left, loads, spare, 0)

    def _possible(
        self, chunk: int, kind: int, left: tuple[int, ...], loads: tuple[int, ...], spare: int, begun: int
    ) -> bool:
        """Whether the area suffices, and those that cannot stay where they are are few enough."""
        area = forced = 0
        for number, (shape, count) in enumerate(zip(self.shapes, left, strict=True)):
            area += count * shape.wide * shape.share
            stays = self.ahead[number][chunk + (number < kind)]
            if number == kind:
                stays -= min(begun, self.here[number][chunk])
            forced += max(0, count - stays)
        return forced <= spare and area <= PER_MILLE * (len(loads) - chunk) - sum(loads[chunk:])


def _ordered(
    fixed: Sequence[int], items: Sequence[Item], new: Shape, starts: Sequence[tuple[Shape, int]], effort: Effort
) -> Solution | None:
    """The moves that lead to an arrangement, each of which fits by itself."""
    goals = list(starts)
    moving: list[Item] = []
    loads = list(fixed)
    for item in items:
        _add(loads, item.shape, item.first, 1)
        if (item.shape, item.first) in goals:
            goals.remove((item.shape, item.first))
        else:
            moving.append(item)
    done: list[Move] = []
    for parked in range(MAX_PARKED + 1):
        if _advance(loads, moving, goals, done, parked, effort):
            ((_, first),) = goals
            return Solution(tuple(done), first)
    return None


def _advance(
    loads: list[int], moving: list[Item], goals: list[tuple[Shape, int]], done: list[Move], parks: int, effort: Effort
) -> bool:
    """Carry out moves until none is left to do; `parks` of them may go elsewhere first."""
    if not moving:
        return True
    effort.spend()
    for item in list(moving):
        for goal in dict.fromkeys(goal for goal in goals if goal[0] == item.shape):
            if _fits(loads, item, goal[1]):
                moving.remove(item)
                goals.remove(goal)
                if _step(loads, item, goal[1], moving, goals, done, parks, effort):
                    return True
                moving.append(item)
                goals.append(goal)
    for item in list(moving) if parks else ():
        for first in range(len(loads) - item.shape.wide + 1):
            if first != item.first and _fits(loads, item, first):
                at = moving.index(item)
                moving[at] = item._replace(first=first)
                if _step(loads, item, first, moving, goals, done, parks - 1, effort):
                    return True
                moving[moving.index(item._replace(first=first))] = item
    return False


def _step(
    loads: list[int],
    item: Item,
    first: int,
    moving: list[Item],
    goals: list[tuple[Shape, int]],
    done: list[Move],
    parks: int,
    effort: Effort,
) -> bool:
    """Try what follows from one move; all is as before if nothing does."""
    _add(loads, item.shape, item.first, -1)
    _add(loads, item.shape, first, 1)
    done.append(Move(item.key, first))
    if _advance(loads, moving, goals, done, parks, effort):
        return True
    done.pop()
    _add(loads, item.shape, first, -1)
    _add(loads, item.shape, item.first, 1)
    return False


def _fits(loads: Sequence[int], item: Item, first: int) -> bool:
    """Whether an item can go there from where it is."""
    own = range(item.first, item.first + item.shape.wide)
    there = range(first, first + item.shape.wide)
    return all(loads[chunk] + (0 if chunk in own else item.shape.share) <= PER_MILLE for chunk in there)


def _add(loads: list[int], shape: Shape, first: int, sign: int) -> None:
    for chunk in range(first, first + shape.wide):
        loads[chunk] += sign * shape.share
