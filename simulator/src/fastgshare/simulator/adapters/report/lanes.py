"""Where replicas lie in a picture of a device over time: one box each, as high as its chunks times its quota. Pure.

Replicas that share chunks, and those that share some with these, stand upon each other on the chunks of all of them, so
that a box is whole and its area true; what is left free above them is promised to nobody.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from fastgshare.simulator.core.outcome import Rectangle

EPSILON = 1e-9


class Lane(NamedTuple):
    """What `held` has of the picture for a while: from `bottom` up, in chunks."""

    held: Rectangle
    bottom: float
    height: float
    from_us: int
    until_us: int


def lanes(rectangles: Sequence[Rectangle]) -> list[Lane]:
    """Of one device's rectangles, each in as few boxes as its neighbours' coming and going allow."""
    starts: dict[int, list[Rectangle]] = {}
    for held in rectangles:
        starts.setdefault(held.from_us, []).append(held)
    times = sorted({at_us for held in rectangles for at_us in (held.from_us, held.until_us)})
    done: list[Lane] = []
    open_ones: dict[tuple[Rectangle, float, float], int] = {}
    standing: list[Rectangle] = []
    for at_us in times:
        standing = [held for held in standing if held.until_us > at_us] + starts.get(at_us, [])
        here = {(held, bottom, height) for held, bottom, height in _stacked(standing)}
        over = [key for key in open_ones if key not in here]
        done += [Lane(*key, open_ones.pop(key), at_us) for key in over]
        for key in sorted(here, key=lambda key: key[1]):
            open_ones.setdefault(key, at_us)
    return sorted(done, key=lambda lane: (lane.from_us, lane.bottom))


def runs(chunks: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbouring chunks as (first, how many)."""
    grouped = groupby(enumerate(sorted(chunks)), key=lambda pair: pair[1] - pair[0])
    found = [[chunk for _, chunk in members] for _, members in grouped]
    return [(members[0], len(members)) for members in found]


def _stacked(standing: Iterable[Rectangle]) -> Iterator[tuple[Rectangle, float, float]]:
    for members in _sharing(standing):
        chunks = sorted({chunk for held in members for chunk in held.chunks})
        sizes = [len(held.chunks) * held.quota_request for held in members]
        scale = min(len(chunks) / sum(sizes), 1.0) if sum(sizes) else 1.0  # more than there is: none of ours does that
        low = 0.0
        for held, size in zip(members, sizes, strict=True):
            yield from ((held, *part) for part in _parts(low, low + size * scale, chunks))
            low += size * scale


def _parts(low: float, high: float, chunks: Sequence[int]) -> Iterator[tuple[float, float]]:
    """From `low` to `high` of these chunks one after another, as (bottom, height) on the device; one without a gap."""
    before = 0
    for first, count in runs(chunks):
        from_at, until_at = max(low, before), min(high, before + count)
        if until_at - from_at > EPSILON:
            yield round(first + from_at - before, 6), round(until_at - from_at, 6)
        before += count


def _sharing(standing: Iterable[Rectangle]) -> list[list[Rectangle]]:
    """Those that share chunks, also by way of others, together; each group from its first chunk on, wide ones first."""
    groups: list[tuple[set[int], list[Rectangle]]] = []
    for held in sorted(standing, key=lambda each: (-len(each.chunks), each.chunks, each.function, each.replica)):
        mine, members = set(held.chunks), [held]
        apart = []
        for chunks, others in groups:
            if mine.isdisjoint(chunks):
                apart.append((chunks, others))
            else:
                mine, members = mine | chunks, others + members
        groups = [*apart, (mine, members)]
    return [members for _, members in groups]
