"""Where a replica goes: a device, and neighbouring chunks of it.

The load of a chunk is the sum of `quota_request` over the replicas on it, at most 1; the memory of a device is the
sum of `gpu_mem_mib`, at most what it has. During an update the other generations of the same function do not count
towards time, because they leave when the new one is ready; they always count towards memory.

What is on loan takes no time and makes no device better or worse than another; its memory is taken until there is
no other room, and then it is the loan that has to leave.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from fastgshare.scheduler.core import windows
from fastgshare.scheduler.core.books import ROUNDING, Books, Entry, Held, Key, Room, Standing, holding, permille
from fastgshare.scheduler.core.liveness import occupies, serving_device
from fastgshare.scheduler.core.state import State
from fastgshare.scheduler.core.windows import width
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, NodeId
from fastgshare.shared.messages import FunctionSpec, ReplicaState, Slice
from fastgshare.shared.units import PER_MILLE

__all__ = ["Held", "Room", "Slot", "books", "choose", "holding", "rooms", "shortage", "width", "will_fit"]


Grade = tuple[bool, bool, bool, bool]


class Slot(NamedTuple):
    """A place for a replica."""

    node: NodeId
    device: DeviceId
    chunks: tuple[int, ...]


def books(state: State) -> Books:
    """What stands where, after all that was noted as changed since the last time."""
    known = state.books
    while state.stale_keys:
        key, _ = state.stale_keys.popitem()
        known.enter(key, _entry(state, key))
    while state.stale_nodes:
        node, _ = state.stale_nodes.popitem()
        _open_and_close(state, known, node)
    return known


def rooms(state: State) -> list[Room]:
    """Every device that can take replicas now, built from nothing: slow, and what `books` has to agree with."""
    fresh = Books()
    for key in sorted({*state.placed, *state.loans, *state.reported}):
        fresh.enter(key, _entry(state, key))
    for node in sorted(state.nodes):
        _open_and_close(state, fresh, node)
    return [fresh.rooms[device] for device in sorted(fresh.rooms)]


def _open_and_close(state: State, known: Books, node_id: NodeId) -> None:
    node = state.nodes.get(node_id)
    for name in known.devices_of(node_id):
        if not serving_device(state, node_id, name):
            known.close(node_id, name)
    for name, view in node.devices.items() if node is not None else ():
        if serving_device(state, node_id, name):
            device = view.device
            known.open(Room(node_id, name, device.chunks, device.memory_mib, device.kind))


def _entry(state: State, key: Key) -> Entry | None:
    """What a key means now: a replica, a loan, or what is left of one."""
    reported = state.reported.get(key)
    placed = state.placed.get(key)
    if placed is not None:
        if not occupies(state, placed):
            return None
        weights_mib = reported.status.weights_mib if reported is not None else 0.0
        return Entry(placed.placement.device, Standing.HELD, holding(placed.placement, weights_mib))
    loan = state.loans.get(key)
    if loan is not None:
        if not occupies(state, loan.placed):
            return None
        standing = Standing.RETURNING if loan.placed.leaving else Standing.LENT
        return Entry(loan.placed.placement.device, standing, holding(loan.placed.placement))
    if reported is None or reported.status.state is ReplicaState.FAILED:
        return None
    standing = Standing.RETURNING if reported.status.loan else Standing.HELD
    return Entry(reported.status.device, standing, _leftover(state, key))


def _leftover(state: State, key: Key) -> Held:
    """What a replica whose placement is gone holds until it has drained: memory, and no more time."""
    status = state.reported[key].status
    departing = state.departing.get(key)
    memory_mib = max(status.memory_mib, departing.function.slice.gpu_mem_mib if departing else 0)
    return Held(status.function, status.generation, (), 0.0, memory_mib, status.model_digest)


def choose(
    found: Books | Iterable[Room],
    spec: FunctionSpec,
    avoid: Iterable[DeviceId] = (),
    after_loans: bool = False,
    beside: Mapping[NodeId, int] | None = None,
) -> Slot | None:
    """The best place for a replica of `spec`, now or once the loans there have left, or None.

    Rather not on a device in `avoid`, rather on one that is in use, on another node than `beside` (where the function
    has replicas), where its model is already; then on the device left fullest. In books those with the model are looked
    at, then the others fullest first, until those to come can be no better.
    """
    shunned, siblings, digest = frozenset(avoid), beside or {}, spec.model.digest
    wish = _Wish.of(spec, after_loans)
    wanted: tuple[Grade, tuple[float, float, str], Room] | None = None
    for room, is_ordered in _candidates(found, wish):
        if is_ordered and wanted is not None and wanted[0][:3] <= (False, not room.held, False):
            break
        if not wish.fits(room):
            continue
        plain = (room.device in shunned, not room.held, room.node in siblings)
        grade = (*plain, not room.has_model(digest))
        place = (*room.fill, room.device)
        if wanted is None or (grade, place) < wanted[:2]:
            wanted = grade, place, room
    if wanted is None:
        return None
    room = wanted[2]
    chunks = fit(room, spec)
    return Slot(room.node, room.device, chunks) if chunks is not None else None


def largest(found: Books, spec: FunctionSpec, slices: Sequence[Slice]) -> Slice | None:
    """The first of these slices, the largest first, that a replica of `spec` could have on some device now."""
    wishes = [_Wish.of(replace(spec, slice=held)) for held in slices]
    first = len(wishes)
    for room in found.fullest_first(min((wish.least_free for wish in wishes), default=0.0)):
        first = next((at for at, wish in enumerate(wishes[:first]) if wish.fits(room)), first)
        if first == 0:
            break
    return slices[first] if first < len(wishes) else None


def _candidates(found: Books | Iterable[Room], wish: "_Wish") -> Iterator[tuple[Room, bool]]:
    """Rooms to look at, and whether what comes from there on is fuller first, the empty ones last."""
    if not isinstance(found, Books):
        for room in found:
            yield room, False
        return
    updated = [device for device, other in found.functions.get(wish.function, ()) if other != wish.generation]
    for device in (*found.models.get(wish.digest, ()), *updated):
        known = found.rooms.get(device)
        if known is not None:
            yield known, False
    for room in found.fullest_first(wish.least_free):
        yield room, True


class _Wish(NamedTuple):
    """What a replica asks of a device."""

    function: FunctionName
    generation: int
    digest: Digest
    percent: int
    share: int
    memory_mib: float
    after_loans: bool
    after_returns: bool = False

    @classmethod
    def of(cls, spec: FunctionSpec, after_loans: bool = False, after_returns: bool = False) -> "_Wish":
        held = spec.slice
        share = permille(held.quota_request)
        return cls(
            spec.name,
            spec.generation,
            spec.model.digest,
            held.sm_partition,
            share,
            held.gpu_mem_mib,
            after_loans,
            after_returns,
        )

    @property
    def least_free(self) -> float:
        """A device has at least this much of its time free, in parts per thousand, or it cannot hold the window."""
        return self.percent * self.share / 100 - ROUNDING

    def fits(self, room: Room) -> bool:
        """Whether such a replica fits here."""
        wide = width(self.percent, room.chunks)
        if wide > room.chunks:
            return False
        if room.tops()[wide] < self.share and not self._fits_after_update(room, wide):
            return False
        open_mib = room.free_mib if self.after_returns else room.open_mib(self.after_loans)
        return self.memory_mib <= open_mib or room.needs_mib(self.memory_mib, self.digest) <= open_mib

    def _fits_after_update(self, room: Room, wide: int) -> bool:
        if not room.is_updating(self.function, self.generation):
            return False
        loads = room.loads_after_update(self.function, self.generation)
        return any(max(loads[first : first + wide]) + self.share <= PER_MILLE for first in range(len(loads) - wide + 1))


def will_fit(found: Iterable[Room], spec: FunctionSpec) -> bool:
    """Whether there is room once the loans that leave have left."""
    wish = _Wish.of(spec, after_returns=True)
    return any(room.returning and wish.fits(room) for room in found)


def fit(room: Room, spec: FunctionSpec) -> windows.Window | None:
    """The chunks a replica of `spec` would get here, by time alone."""
    wide = width(spec.slice.sm_partition, room.chunks)
    offered = room.loads_after_update(spec.name, spec.generation)
    masks = [held.chunks for held in room.held.values()]
    return windows.best(room.loads(), wide, permille(spec.slice.quota_request), masks, offered)


def ever_fits(found: Iterable[Room], spec: FunctionSpec) -> bool:
    """Whether any of these devices, with nothing else on it, could hold a replica of `spec`."""
    held = spec.slice
    if permille(held.quota_request) > PER_MILLE:
        return False
    return any(
        held.gpu_mem_mib <= room.memory_mib and width(held.sm_partition, room.chunks) <= room.chunks for room in found
    )


def shortage(found: Iterable[Room], spec: FunctionSpec) -> str:
    """Why `choose` found nothing, with the numbers of the device that comes closest."""
    there = list(found)
    held = spec.slice
    need = f"{held.gpu_mem_mib} MiB"
    if not there:
        return f"a replica needs {held.sm_partition}% of a device and {need}, and no device is there"
    if not ever_fits(there, spec):
        return _never(there, spec)
    share = permille(held.quota_request)

    def closeness(room: Room) -> tuple[bool, float]:
        wide = width(held.sm_partition, room.chunks)
        return wide <= room.chunks and room.tops()[wide] >= share, room.free_mib

    room = max(there, key=closeness)
    wide = width(held.sm_partition, room.chunks)
    loads = room.loads_after_update(spec.name, spec.generation)
    return (
        f"a replica needs {wide} neighbouring of {room.chunks} chunks"
        f" with {held.quota_request:.0%} of their time free, and {need};"
        f" {room.device} has {_longest(loads, share)} such chunks"
        f" and {max(0, int(room.free_mib))} of {room.memory_mib} MiB"
    )


def _longest(loads: Sequence[int], share: int) -> int:
    """How many neighbouring chunks have so much time free."""
    longest = run = 0
    for load in loads:
        run = run + 1 if load + share <= PER_MILLE else 0
        longest = max(longest, run)
    return longest


def _never(there: Sequence[Room], spec: FunctionSpec) -> str:
    held = spec.slice
    largest_mib = max(room.memory_mib for room in there)
    return (
        f"it can never fit: a replica needs {held.sm_partition}% of a device, {held.quota_request:.0%} of its time"
        f" and {held.gpu_mem_mib} MiB, and the largest device has {largest_mib} MiB"
    )
