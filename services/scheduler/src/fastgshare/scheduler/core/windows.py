"""Which chunks of a device a replica gets: maximal rectangles of free time over neighbouring chunks, best area first.

Only the load of each chunk counts. Windows of neighbouring chunks are intervals, and any set of intervals with at most
the whole time of every chunk promised has a timetable (docs/decisions/0009), so a free rectangle needs no position in
time: it is as wide as its chunks and as high as the least free time among them.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fastgshare.shared.units import PER_MILLE

ROOMY = PER_MILLE - 50
"""Up to here nobody in a group of overlapping windows misses its request (docs/decisions/0004)."""

Window = tuple[int, ...]


class Rectangle(NamedTuple):
    """Free room: chunks `first` to `last`, and the parts per thousand of their time that all of them have free."""

    first: int
    last: int
    height: int

    @property
    def width(self) -> int:
        """In chunks."""
        return self.last - self.first + 1

    @property
    def area(self) -> int:
        """In parts per thousand of one chunk's time."""
        return self.width * self.height


def width(sm_partition: int, chunks: int) -> int:
    """How many of a device's `chunks` a replica takes: its percentage, rounded up."""
    return max(1, -(-sm_partition * chunks // 100))


def window(first: int, wide: int) -> Window:
    """So many neighbouring chunks from `first` on."""
    return tuple(range(first, first + wide))


def starts(loads: Sequence[int], wide: int, share: int) -> list[int]:
    """Where a window of this shape can begin."""
    return [first for first in range(len(loads) - wide + 1) if max(loads[first : first + wide]) + share <= PER_MILLE]


def calmest(loads: Sequence[int], wide: int) -> Window:
    """So many neighbouring chunks, those with the least load."""
    starts = range(len(loads) - wide + 1)
    first = min(starts, key=lambda at: (max(loads[at : at + wide]), sum(loads[at : at + wide]), at))
    return window(first, wide)


def maximal_rectangles(loads: Sequence[int]) -> list[Rectangle]:
    """The free rectangles that no other contains, from left to right.

    The largest rectangles of a histogram by a stack of rising bars (Jylänki, "A Thousand Ways to Pack the Bin", 2010,
    calls the set of them MaxRects).
    """
    found: list[Rectangle] = []
    rising: list[tuple[int, int]] = []  # (first chunk, height)
    for chunk, height in enumerate([*(max(0, PER_MILLE - load) for load in loads), 0]):
        first = chunk
        while rising and rising[-1][1] >= height:
            first, top = rising.pop()
            if top > height:
                found.append(Rectangle(first, chunk - 1, top))
        if height > 0:
            rising.append((first, height))
    return sorted(found)


def best(
    loads: Sequence[int], wide: int, share: int, others: Iterable[Window], offered: Sequence[int]
) -> Window | None:
    """The neighbouring chunks that a replica of this shape gets, or None.

    `offered` is the load that counts for whether it fits, `loads` the one to choose by. First those that overlap no
    other window in part, then those that leave head-room; then the smallest rectangle that holds the shape, the place
    in it that leaves the largest rectangle, and the first.
    """
    fitting = starts(offered, wide, share)
    if not fitting:
        return None
    rectangles = maximal_rectangles(loads)
    masks = list(dict.fromkeys(others))
    ranked = min((_rank(loads, rectangles, masks, first, wide, share), first) for first in fitting)
    return window(ranked[1], wide)


def _rank(
    loads: Sequence[int], rectangles: Sequence[Rectangle], masks: Sequence[Window], first: int, wide: int, share: int
) -> tuple[int, int, int, int]:
    """Lower is better."""
    last = first + wide - 1
    holding = [one.area for one in rectangles if one.first <= first and last <= one.last and one.height >= share]
    after = [load + share if first <= chunk <= last else load for chunk, load in enumerate(loads)]
    rest = max((one.area for one in maximal_rectangles(after)), default=0)
    peak = max(after[first : last + 1])
    return _mixing(masks, first, last, peak), min(holding, default=PER_MILLE * len(loads)), -rest, peak


def _mixing(masks: Sequence[Window], first: int, last: int, peak: int) -> int:
    """0: overlaps nobody in part; 1: does, with head-room; 2: does, and promises nearly everything."""
    own = range(first, last + 1)
    apart = all(mask == tuple(own) or not (mask[0] <= last and first <= mask[-1]) for mask in masks if mask)
    return 0 if apart else 1 if peak <= ROOMY else 2
