"""Replicas as rectangles that do not overlap: where each is drawn, from its chunks and its share of their time. Pure.

Positions in time are for the eye: placement needs none (docs/decisions/0009). Rectangles are laid from below, each
into time that all of its chunks have free. Taken in the order of their first chunks, windows of neighbouring chunks
always find room as long as no chunk is promised more than its whole time, if need be in several pieces; other orders
are tried first where they leave more of them whole. Scattered chunks, and more promised than there is, may not fit:
then all are drawn smaller until they do. Loans get what is left; where nothing is, a strip over the others, for that
they run on time that others do not use is all there is to show.
"""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import NamedTuple

from fastgshare.shared.overview.view import Piece
from fastgshare.shared.units import PER_MILLE

SHRINK = 20
"""Where not all fit, they are drawn smaller by a twentieth at a time."""

STRIP = 120
"""How high a loan is that lies over others, in parts per thousand."""

Span = tuple[int, int]
"""A stretch of time, its beginning and its end, in parts per thousand."""


class Holder(NamedTuple):
    """A replica: its chunks, ascending, and the share of their time it is promised; nothing, on loan, up to `share`."""

    replica: str
    chunks: tuple[int, ...]
    share: float
    is_loan: bool = False


def lay(holders: Sequence[Holder], chunks: int) -> dict[str, tuple[Piece, ...]]:
    """The pieces of every holder on a device of so many chunks; loans get what is left, or lie over the others."""
    owners = [holder for holder in holders if not holder.is_loan and _height(holder) and _held(holder, chunks)]
    most = max((sum(_height(one) for one in owners if chunk in one.chunks) for chunk in range(chunks)), default=0)
    scale = min(1.0, PER_MILLE / most) if most else 1.0
    while (board := _best(owners, chunks, scale)) is None:
        scale *= 1 - 1 / SHRINK
    for loan in sorted((holder for holder in holders if holder.is_loan), key=_by_chunk):
        board.lay_in_rest(loan)
    return {holder.replica: board.pieces.get(holder.replica, ()) for holder in holders}


class _Board:
    """A device while rectangles are laid on it: what time of each chunk is taken."""

    def __init__(self, chunks: int) -> None:
        self._chunks = chunks
        self._taken: list[list[Span]] = [[] for _ in range(chunks)]
        self.pieces: dict[str, tuple[Piece, ...]] = {}

    def lay(self, holder: Holder, scale: float) -> bool:
        """Lay one, whole where there is room for that; False where there is not enough at all."""
        height, free = max(1, int(_height(holder) * scale)), self._free(holder)
        whole = next(((low, low + height) for low, high in free if high - low >= height), None)
        spans = [whole] if whole is not None else _cut(free, height)
        if not spans:
            return False
        self._take(holder, spans)
        return True

    def lay_in_rest(self, loan: Holder) -> None:
        """Lay one into the tallest stretch of time that is left on its chunks, else over others as a strip."""
        free = self._free(loan)
        if not _held(loan, self._chunks):
            return
        if not free:
            self._take(loan, [self._least_hiding(loan)], is_over=True)
            return
        low, high = max(free, key=lambda span: span[1] - span[0])
        self._take(loan, [(low, min(high, low + max(1, _height(loan))))])

    def _least_hiding(self, loan: Holder) -> Span:
        """The strip at the head of a rectangle that hides the smallest part of whatever it lies over."""
        taken = [span for chunk in _held(loan, self._chunks) for span in self._taken[chunk]]
        strips = {(max(0, head - STRIP), max(head, STRIP)) for _, head in taken}
        return min(strips, key=lambda strip: (max(_hidden(span, strip) for span in taken), -strip[1]))

    def _free(self, holder: Holder) -> list[Span]:
        """The time that all of its chunks have free, from below."""
        taken = sorted(span for chunk in _held(holder, self._chunks) for span in self._taken[chunk])
        free, low = [], 0
        for start, end in [*taken, (PER_MILLE, PER_MILLE)]:
            if start > low:
                free.append((low, start))
            low = max(low, end)
        return free

    def _take(self, holder: Holder, spans: Sequence[Span], is_over: bool = False) -> None:
        held = _held(holder, self._chunks)
        for chunk in held:
            self._taken[chunk].extend(spans)
        self.pieces[holder.replica] = tuple(
            Piece(first, count, low / PER_MILLE, (high - low) / PER_MILLE, is_over)
            for first, count in _runs(held)
            for low, high in spans
        )


def _best(owners: Sequence[Holder], chunks: int, scale: float) -> _Board | None:
    """Them all laid, in the fewest pieces that some order gives; None where no order finds room for all."""
    boards = [board for order in _ORDERS if (board := _laid(sorted(owners, key=order), chunks, scale)) is not None]
    return min(boards, key=lambda board: sum(map(len, board.pieces.values())), default=None)


def _laid(owners: Sequence[Holder], chunks: int, scale: float) -> _Board | None:
    board = _Board(chunks)
    return board if all(board.lay(owner, scale) for owner in owners) else None


def _by_chunk(holder: Holder) -> tuple[float, ...]:
    return (*holder.chunks[:1], -len(holder.chunks), -holder.share)


def _widest_first(holder: Holder) -> tuple[float, ...]:
    return (-len(holder.chunks), *holder.chunks[:1], -holder.share)


def _tallest_first(holder: Holder) -> tuple[float, ...]:
    return (-holder.share, *holder.chunks[:1], -len(holder.chunks))


_ORDERS: tuple[Callable[[Holder], tuple[float, ...]], ...] = (_by_chunk, _widest_first, _tallest_first)


def _height(holder: Holder) -> int:
    """Rounded down, as placement and nodes do."""
    return min(PER_MILLE, int(max(0.0, holder.share) * PER_MILLE + 1e-6))


def _held(holder: Holder, chunks: int) -> tuple[int, ...]:
    return tuple(chunk for chunk in holder.chunks if 0 <= chunk < chunks)


def _hidden(span: Span, strip: Span) -> float:
    """What share of a stretch of time lies under a strip."""
    return max(0, min(span[1], strip[1]) - max(span[0], strip[0])) / (span[1] - span[0])


def _cut(free: Sequence[Span], height: int) -> list[Span]:
    """The lowest free time that makes up `height`; nothing where there is less."""
    spans = []
    for low, high in free:
        part = min(height, high - low)
        spans.append((low, low + part))
        height -= part
        if not height:
            return spans
    return []


def _runs(chunks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Neighbours together: the first, and how many."""
    first, last = None, -1
    for chunk in chunks:
        if first is None or chunk != last + 1:
            if first is not None:
                yield first, last - first + 1
            first = chunk
        last = chunk
    if first is not None:
        yield first, last - first + 1


class Layouts:
    """What `lay` gave for each device, kept until its replicas' rectangles change: it is asked every second."""

    def __init__(self) -> None:
        self._laid: dict[str, tuple[tuple[Holder, ...], int, Mapping[str, tuple[Piece, ...]]]] = {}

    def of(self, device: str, holders: Sequence[Holder], chunks: int) -> Mapping[str, tuple[Piece, ...]]:
        """The pieces of every holder on this device."""
        asked = tuple(holders)
        known = self._laid.get(device)
        if known is None or known[:2] != (asked, chunks):
            known = self._laid[device] = (asked, chunks, lay(asked, chunks))
        return known[2]

    def keep(self, devices: Container[str]) -> None:
        """Forget all other devices."""
        self._laid = {device: laid for device, laid in self._laid.items() if device in devices}
