"""Whose turn it is where chunks of replicas overlap without being equal: a placement read as a timetable.

A packed rectangle has a position in both directions, chunks and time. Within a period every replica of a *mixed group*
(connected by shared chunks, not all on the same ones) owns slots that make up its `quota_request`, and no two slots on
one chunk overlap. Handing chunks from several narrow replicas to a wide one idles them up to a batch each time, so
there should be one hand-over a period, not one a batch; and as ten windows are a whole number of periods, what a
replica has over any ten of them does not depend on where in its slot they begin.

Slots are laid by first fit in the order of the replicas' first chunks, cut where something is in the way. On masks of
neighbouring chunks (what the scheduler gives where it can) this always succeeds if no chunk is promised more than its
whole time: overlaps of intervals are cliques (Golumbic, Algorithmic Graph Theory and Perfect Graphs, 8.2). Elsewhere,
and where more is promised, all slots shrink until they fit, and what they are short of comes as the debt grows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.units import PER_MILLE

# Ten windows hold a whole number of each of these periods.
PERIOD_WINDOWS = (1, 2, 5)
BATCHES_PER_PERIOD = 25
SHRINK = 20  # by a twentieth at a time


@dataclass(frozen=True, slots=True)
class Share:
    """What a replica holds of a device: chunks, and parts per thousand of their time, promised and at most.

    Who is promised nothing is in the background (`background`): it runs where nobody else has work.
    """

    mask: int
    request_permille: int
    limit_permille: int

    @property
    def is_background(self) -> bool:
        """Whether it is promised nothing."""
        return not self.request_permille


Slot = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Timetable:
    """Slots by replica in microseconds of the period; replicas outside mixed groups have none and need none."""

    period_us: int
    slots: Mapping[ReplicaId, Sequence[Slot]] = field(default_factory=dict)

    def left_us(self, replica: ReplicaId, now_us: int) -> int:
        """How long `replica` still owns its chunks from now on; 0 outside its slots."""
        phase_us = now_us % self.period_us
        return next((end_us - phase_us for start_us, end_us in self.slots[replica] if start_us <= phase_us < end_us), 0)

    def ahead_us(self, replica: ReplicaId, now_us: int) -> int:
        """How far the account of a replica that has had exactly its slots is ahead of now: less than none before them.

        Zero where a period begins, for everybody: by then each slot has paid for the period it lies in.
        """
        phase_us = now_us % self.period_us
        slots = self.slots[replica]
        had_us = sum(min(end_us, phase_us) - start_us for start_us, end_us in slots if start_us < phase_us)
        whole_us = sum(end_us - start_us for start_us, end_us in slots)
        return had_us * self.period_us // whole_us - phase_us if whole_us else 0

    def next_slot_us(self, replica: ReplicaId, now_us: int) -> int | None:
        """When the next of its slots after `now_us` begins; None where it has none."""
        phase_us = now_us % self.period_us
        waits_us = [(start_us - phase_us) % self.period_us or self.period_us for start_us, _ in self.slots[replica]]
        return now_us + min(waits_us) if waits_us else None


def period_for(window_us: int, batch_us: int) -> int:
    """The shortest period that holds enough of such batches for hand-overs to cost little; else the longest."""
    for windows in PERIOD_WINDOWS:
        if batch_us * BATCHES_PER_PERIOD <= windows * window_us:
            return windows * window_us
    return PERIOD_WINDOWS[-1] * window_us


def connected(shares: Mapping[ReplicaId, Share]) -> list[list[ReplicaId]]:
    """Replicas in groups that share no chunk with each other."""
    groups: list[tuple[int, list[ReplicaId]]] = []
    for replica, share in shares.items():
        mask, members, apart = share.mask, [replica], []
        for other_mask, others in groups:
            if other_mask & share.mask:
                mask |= other_mask
                members = others + members
            else:
                apart.append((other_mask, others))
        groups = [*apart, (mask, members)]
    return [members for _, members in groups]


def is_mixed(members: Iterable[ReplicaId], shares: Mapping[ReplicaId, Share]) -> bool:
    """Whether replicas of a group are not all on the same chunks."""
    return len({shares[member].mask for member in members}) > 1


def overfull_chunks(shares: Iterable[Share], chunks: int) -> dict[int, int]:
    """Chunks promised more than their whole time, with the parts per thousand they are promised."""
    promised = dict.fromkeys(range(chunks), 0)
    for share in shares:
        for chunk in range(chunks):
            if share.mask >> chunk & 1:
                promised[chunk] += share.request_permille
    return {chunk: permille for chunk, permille in promised.items() if permille > PER_MILLE}


def lay(
    group: Iterable[ReplicaId],
    shares: Mapping[ReplicaId, Share],
    period_us: int,
    kept: Mapping[ReplicaId, Sequence[Slot]] | None = None,
) -> dict[ReplicaId, Sequence[Slot]]:
    """Slots of a mixed group; where they find no room, all shrink alike until they do, so that nobody has none.

    `kept`: slots of members for whom nothing changed. They stay if the others find room beside them in one piece each,
    because a slot that moves takes up to twice its time into or out of ten windows.
    """
    members = list(group)
    promised = overfull_chunks((shares[member] for member in members), _width(members, shares))
    fill_permille = PER_MILLE * PER_MILLE // max(promised.values(), default=PER_MILLE)
    if kept and fill_permille == PER_MILLE:
        laid = _first_fit(members, shares, period_us, fill_permille, kept)
        if laid is not None and all(len(slots) == 1 for member, slots in laid.items() if member not in kept):
            return laid
    while (laid := _first_fit(members, shares, period_us, fill_permille, {})) is None:
        fill_permille -= max(fill_permille // SHRINK, 1)
    return laid


def _first_fit(
    group: Iterable[ReplicaId],
    shares: Mapping[ReplicaId, Share],
    period_us: int,
    fill_permille: int,
    kept: Mapping[ReplicaId, Sequence[Slot]],
) -> dict[ReplicaId, Sequence[Slot]] | None:
    """The widest first among those that begin at the same chunk; None where somebody finds no room."""
    laid: dict[ReplicaId, Sequence[Slot]] = dict(kept)

    def place(replica: ReplicaId) -> tuple[int, int, ReplicaId]:
        mask = shares[replica].mask
        return mask & -mask, -mask.bit_count(), replica

    for replica in sorted(set(group) - kept.keys(), key=place):
        mask = shares[replica].mask
        taken = sorted(slot for other, slots in laid.items() if shares[other].mask & mask for slot in slots)
        need_us = shares[replica].request_permille * fill_permille * period_us // PER_MILLE**2
        slots = _fill(taken, need_us, period_us)
        if sum(end_us - start_us for start_us, end_us in slots) < need_us:
            return None
        laid[replica] = tuple(slots)
    return laid


def _width(members: Iterable[ReplicaId], shares: Mapping[ReplicaId, Share]) -> int:
    return max(shares[member].mask.bit_length() for member in members)


def _fill(taken: Iterable[Slot], need_us: int, period_us: int) -> list[Slot]:
    """The earliest slots between the taken ones that add up to `need_us`, or as much as there is room for."""
    slots: list[Slot] = []
    free_from_us = 0
    for start_us, end_us in [*taken, (period_us, period_us)]:
        length_us = min(need_us, start_us - free_from_us)
        if length_us > 0:
            slots.append((free_from_us, free_from_us + length_us))
            need_us -= length_us
        free_from_us = max(free_from_us, end_us)
    return slots
