"""Room for a replica that fits nowhere, and devices set free: which replicas would have to go where.

Only proposals are made here; `plan` and `understudies` carry them out. A replica moves for two reasons: another fits
nowhere otherwise, or a whole device is emptied. On its own device it moves between two batches; to another, an
understudy comes up there first.
"""

from collections.abc import Iterable, Mapping, Sequence
from heapq import nsmallest
from typing import NamedTuple

from fastgshare.scheduler.core import packing, windows
from fastgshare.scheduler.core.books import Books, Room, permille
from fastgshare.scheduler.core.rearranging import Effort, Item, Shape, rearranged
from fastgshare.scheduler.core.records import Placed
from fastgshare.scheduler.core.state import State
from fastgshare.shared.ids import DeviceId, NodeId
from fastgshare.shared.messages import FunctionSpec, ReplicaState
from fastgshare.shared.units import PER_MILLE

EFFORT = 4_000
"""Steps of the search in one decision, about 40 ms on a slow core; nearly all need a hundredth of it."""
LONG_EFFORT = 10 * EFFORT
"""Where that was not enough, once in `make_room_us`: eight windows of mixed widths have taken 6,900."""
ROOMS_A_STEP = 10
"""So many devices are looked at, for whether something fits there, in the time of a step of the search."""
ROOMS_TRIED = 12
"""From so many devices a replica is thought away to make room for another."""


class Rearrangement(NamedTuple):
    """Moves on one device, in order, and the place there is after them."""

    moves: tuple[tuple[Placed, windows.Window], ...]
    slot: packing.Slot


class GivingWay(NamedTuple):
    """This replica should go there."""

    old: Placed
    slot: packing.Slot


class Search(NamedTuple):
    """What came of looking for room by moves on one device; `undecided` are the devices that were not gone through."""

    found: Rearrangement | None
    undecided: tuple[DeviceId, ...] = ()


def rearrange(
    state: State, fullest_first: Iterable[Room], spec: FunctionSpec, avoid: Iterable[DeviceId], effort: Effort
) -> Search:
    """Moves that make room for a replica of `spec` on one of these devices, the first where that is found."""
    shunned = frozenset(avoid)
    share = permille(spec.slice.quota_request)
    undecided = []
    for room in fullest_first:
        shape = Shape(windows.width(spec.slice.sm_partition, room.chunks), share)
        if not _worth_trying(room, shape, spec):
            continue
        if room.device not in shunned and effort.left > 0:
            answer = _on(state, room, shape, effort)
            if answer is not None:
                return Search(answer)
        if shape not in room.hopeless:
            undecided.append(room.device)
    return Search(None, tuple(undecided))


def next_to_look_at(state: State, undecided: Iterable[DeviceId], now_us: int, pause_us: int) -> DeviceId | None:
    """Which of these devices is to be searched with much effort now, the one that waits longest; None: not yet."""
    looked_us = state.looked_us
    device = min(undecided, key=lambda name: looked_us.get(name, -1), default=None)
    if device is None or any(now_us - at_us < pause_us for at_us in looked_us.values()):
        return None
    known = {name: at_us for name, at_us in looked_us.items() if name in packing.books(state).rooms}
    state.looked_us = {**known, device: now_us}
    return device


def _worth_trying(room: Room, shape: Shape, spec: FunctionSpec) -> bool:
    """Whether there are memory and time enough, though not in one piece."""
    if shape in room.hopeless or shape.wide > room.chunks or room.fill[0] * room.chunks < shape.wide * shape.share:
        return False
    return room.needs_mib(spec.slice.gpu_mem_mib, spec.model.digest) <= room.open_mib()


def _on(state: State, room: Room, shape: Shape, effort: Effort) -> Rearrangement | None:
    fixed = list(room.loads())
    if max(fixed) > PER_MILLE:
        return None  # an update is under way: it shows afterwards what is left
    items: list[Item] = []
    for key, held in room.held.items():
        placed = state.placed.get(key)
        if placed is not None and _is_window(held.chunks) and can_move(state, placed):
            items.append(Item(key, Shape(len(held.chunks), held.permille), held.chunks[0]))
            for chunk in held.chunks:
                fixed[chunk] -= held.permille
    answer = rearranged(fixed, items, shape, effort)
    if answer is None:
        all_may_move = sum(bool(held.chunks) for held in room.held.values()) == len(items)
        if all_may_move and effort.left > 0:
            room.hopeless[shape] = True
        return None
    shapes = {item.key: item.shape for item in items}
    moves = [(state.placed[move.key], windows.window(move.first, shapes[move.key].wide)) for move in answer.moves]
    return Rearrangement(tuple(moves), packing.Slot(room.node, room.device, windows.window(answer.first, shape.wide)))


def _is_window(chunks: Sequence[int]) -> bool:
    return bool(chunks) and chunks[-1] - chunks[0] == len(chunks) - 1


def can_move(state: State, placed: Placed, at_once: bool = False) -> bool:
    """Whether a replica is settled enough to be moved; `at_once`: and serves, so that it can hand over."""
    if not placed.confirmed or placed.leaving or placed.overtaken or placed.revived or placed.is_understudy:
        return False
    reported = state.reported.get(placed.key)
    if reported is None:
        return False
    if at_once:
        return reported.status.state is ReplicaState.READY
    return reported.status.state in (ReplicaState.LOADING, ReplicaState.READY)


def resized(room: Room, placed: Placed, spec: FunctionSpec) -> windows.Window | None:
    """The chunks a replica has with another slice on its device, or None where there is no room for that."""
    before = placed.placement
    wide, share = windows.width(spec.slice.sm_partition, room.chunks), permille(spec.slice.quota_request)
    more_mib = spec.slice.gpu_mem_mib - before.function.slice.gpu_mem_mib
    if wide > room.chunks or (more_mib > 0 and more_mib > room.open_mib()):
        return None
    loads = room.loads_without(placed.key)
    if wide == len(before.chunks):
        kept = before.chunks if all(loads[chunk] + share <= PER_MILLE for chunk in before.chunks) else None
        if kept is not None or spec.slice.sm_partition == before.function.slice.sm_partition:
            return kept
    own = set(before.chunks)
    fitting = windows.starts(loads, wide, share)

    def strangeness(first: int) -> tuple[int, int, int]:
        there = range(first, first + wide)
        return len(own.difference(there)), max(loads[first : first + wide]), first

    return windows.window(min(fitting, key=strangeness), wide) if fitting else None


def on_device(state: State, room: Room, placed: Placed, effort: Effort) -> Rearrangement | None:
    """A place on this device for another replica like `placed`, after moves there if need be."""
    spec = placed.placement.function
    slot = packing.choose([room], spec)
    if slot is not None:
        return Rearrangement((), slot)
    shape = Shape(windows.width(spec.slice.sm_partition, room.chunks), permille(spec.slice.quota_request))
    return _on(state, room, shape, effort) if _worth_trying(room, shape, spec) else None


def make_room(
    state: State, found: Books, spec: FunctionSpec, now_us: int, effort: Effort, kind: str = ""
) -> GivingWay | None:
    """A replica whose going elsewhere would let one of `spec` in where it is: the smallest there is, or None."""
    there = (room for room in found.rooms.values() if not kind or room.kind == kind)
    close = nsmallest(ROOMS_TRIED, there, key=lambda room: (room.fill[0] * -room.chunks, room.device))
    effort.left -= len(found.rooms) // ROOMS_A_STEP
    for room in close:
        for placed in smallest_first(state, room):
            if effort.left <= 0:
                return None
            effort.left -= 2
            if packing.choose([room.without(placed.key)], spec) is None:
                continue
            effort.left -= 1 + len(found.rooms) // ROOMS_A_STEP
            slot = _elsewhere(state, placed, found, now_us)
            if slot is not None:
                return GivingWay(placed, slot)
    return None


def emptied(state: State) -> list[DeviceId]:
    """The devices from which replicas are on their way to others."""
    leaving = [state.placed.get(placed.replaces) for placed in state.understudies.values()]
    return [old.placement.device for old in leaving if old is not None]


def smallest_first(state: State, room: Room) -> list[Placed]:
    """The replicas of a device that could hand over to another elsewhere."""
    there = [state.placed[key] for key, held in room.held.items() if key in state.placed and held.chunks]
    able = [placed for placed in there if can_move(state, placed, at_once=True) and _is_calm(state, placed)]
    return sorted(able, key=lambda placed: (_area(room, placed), placed.age))


def _area(room: Room, placed: Placed) -> tuple[int, float]:
    held = room.held[placed.key]
    return len(held.chunks) * held.permille, held.memory_mib


def _is_calm(state: State, placed: Placed) -> bool:
    """Whether its function has this one generation alone and no understudy."""
    function = state.function(placed.placement.function.name)
    spec = function.spec
    if spec is None or spec.generation != placed.placement.function.generation:
        return False
    return all(
        one.placement.function.generation == spec.generation and not one.is_understudy and not one.leaving
        for one in function.placed.values()
    )


def _elsewhere(state: State, placed: Placed, found: Books, now_us: int) -> packing.Slot | None:
    """A place on another device that has not disappointed it, not nearer to its siblings than it is."""
    function = state.function(placed.placement.function.name)
    beside: Mapping[NodeId, int] = {
        one.placement.node: 1 for one in function.placed.values() if one is not placed and not one.leaving
    }
    shunned = [device for device, until_us in function.avoid_until_us.items() if until_us > now_us]
    shunned.append(placed.placement.device)
    kind = state.kind_of(placed.placement.node, placed.placement.device) if function.is_sized else ""
    slot = packing.choose(found, placed.placement.function, shunned, beside=beside, kind=kind)
    if slot is None or slot.device in shunned or (slot.node in beside and placed.placement.node not in beside):
        return None
    return slot
