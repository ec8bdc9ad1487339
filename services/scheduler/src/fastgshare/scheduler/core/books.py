"""What stands on each device, kept up to date entry by entry: rooms, and the order in which they are filled.

Time is counted in parts per thousand of each chunk, rounded as the nodes round it, so that both agree on what fits.
Memory is the sum of `gpu_mem_mib`, but where weights were reported they count once for each model and device, because
the node keeps one copy. `packing.rooms` builds the same from nothing and is the oracle of this.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from typing import NamedTuple, TypeVar

from fastgshare.shared.ids import DeviceId, Digest, FunctionName, NodeId
from fastgshare.shared.messages import Placement
from fastgshare.shared.units import PER_MILLE

Key = str
Name = TypeVar("Name", bound=str)
Place = TypeVar("Place")

ROUNDING = 1e-6
"""What binary fractions may miss of a whole part."""


class Standing(Enum):
    """In which way something is on a device."""

    HELD = "held"
    LENT = "lent"
    """On loan, and can be taken back."""
    RETURNING = "returning"
    """Was on loan, and its node is letting go of it."""


class Held(NamedTuple):
    """What one replica takes of a device: `quota` of the time of each of `chunks`, and memory.

    `weights_mib` is the part of its memory that other replicas of the same model share; 0 where that is not known.
    """

    function: FunctionName
    generation: int
    chunks: tuple[int, ...]
    quota: float
    memory_mib: float
    digest: Digest
    weights_mib: float = 0.0

    @property
    def permille(self) -> int:
        """Its share of a chunk's time as nodes count it."""
        return permille(self.quota)


class Entry(NamedTuple):
    """What one key means for one device."""

    device: DeviceId
    standing: Standing
    held: Held


def permille(quota: float) -> int:
    """A share of time in parts per thousand, at least one, rounded down: as nodes count it."""
    return max(1, int(quota * PER_MILLE + ROUNDING))


def holding(placement: Placement, weights_mib: float = 0.0) -> Held:
    """What a placement takes."""
    function = placement.function
    held = function.slice
    return Held(
        function.name,
        function.generation,
        placement.chunks,
        held.quota_request,
        held.gpu_mem_mib,
        function.model.digest,
        weights_mib,
    )


@dataclass(slots=True)
class Room:
    """A device that can take replicas, and what is on it, by key.

    `lent` is the memory of loans that can be taken back, `returning` that of those that leave. `hopeless` are the
    shapes (chunks, parts per thousand) for which no rearrangement was found since the last change.
    """

    node: NodeId
    device: DeviceId
    chunks: int
    memory_mib: float
    kind: str = ""
    held: dict[Key, Held] = field(default_factory=dict)
    lent: dict[Key, float] = field(default_factory=dict)
    returning: dict[Key, float] = field(default_factory=dict)
    hopeless: dict[tuple[int, int], bool] = field(default_factory=dict, compare=False)
    _loads: list[int] | None = field(default=None, compare=False)
    _used_mib: float | None = field(default=None, compare=False)
    _tops: list[int] | None = field(default=None, compare=False)
    _fill: tuple[float, float] | None = field(default=None, compare=False)
    _models: dict[Digest, float] | None = field(default=None, compare=False)
    """Of each model here how much of its weights is known to be here: the least that anybody who has them reported."""

    @property
    def returning_mib(self) -> float:
        """Memory of loans that leave."""
        return sum(self.returning.values())

    @property
    def free_mib(self) -> float:
        """Memory that no function holds."""
        if self._used_mib is None:
            self._used_mib = sum(held.memory_mib for held in self.held.values()) - self._shared_mib()
        return self.memory_mib - self._used_mib

    @property
    def fill(self) -> tuple[float, float]:
        """Sorts devices by what is left: time, then memory."""
        if self._fill is None:
            self._fill = (PER_MILLE * self.chunks - sum(self.loads())) / self.chunks, self.free_mib
        return self._fill

    def open_mib(self, after_loans: bool = False) -> float:
        """Memory to be had at once, or once the loans that can be taken back have left."""
        if not self.lent and not self.returning:
            return self.free_mib
        lent_mib = 0.0 if after_loans else sum(self.lent.values())
        return self.free_mib - self.returning_mib - lent_mib

    def needs_mib(self, memory_mib: float, digest: Digest) -> float:
        """How much of its memory one more replica of a model would take here."""
        return max(0.0, memory_mib - self._weights().get(digest, 0.0))

    def loads(self) -> list[int]:
        """The load of each chunk, in parts per thousand. Not to be changed."""
        if self._loads is None:
            self._loads = self._sum(self.held.values())
        return self._loads

    def tops(self) -> list[int]:
        """By width from 0 on, the most time that so many neighbouring chunks have free, in parts per thousand."""
        if self._tops is None:
            self._tops = tops([PER_MILLE - load for load in self.loads()])
        return self._tops

    def loads_after_update(self, function: FunctionName, generation: int) -> list[int]:
        """The load of each chunk once `function` has only this generation left."""
        if not self.is_updating(function, generation):
            return self.loads()
        staying = [held for held in self.held.values() if held.function != function or held.generation == generation]
        return self._sum(staying)

    def loads_without(self, key: Key) -> list[int]:
        """The load of each chunk but for one holder, once its function has only that generation left."""
        own = self.held.get(key)
        if own is None:
            return list(self.loads())
        loads = list(self.loads_after_update(own.function, own.generation))
        for chunk in own.chunks:
            loads[chunk] -= own.permille
        return loads

    def is_updating(self, function: FunctionName, generation: int) -> bool:
        """Whether other generations of a function are here."""
        return any(held.function == function and held.generation != generation for held in self.held.values())

    def has_model(self, digest: Digest) -> bool:
        """Whether a function's replica has these weights here."""
        return digest in self._weights()

    def is_crowded(self, placement: Placement) -> bool:
        """Whether there is more on this device, where `placement` is, than the device has."""
        loads = self.loads_after_update(placement.function.name, placement.function.generation)
        return self.free_mib < 0 or any(loads[chunk] > PER_MILLE for chunk in placement.chunks)

    def without(self, key: Key) -> "Room":
        """The same device, were this not there."""
        copied = Room(self.node, self.device, self.chunks, self.memory_mib, self.kind)
        copied.held, copied.lent, copied.returning = dict(self.held), dict(self.lent), dict(self.returning)
        copied.take(key)
        return copied

    def put(self, key: Key, entry: Entry) -> None:
        """Count this from now on."""
        if entry.standing is Standing.HELD:
            self.held[key] = entry.held
        elif entry.standing is Standing.LENT:
            self.lent[key] = entry.held.memory_mib
        else:
            self.returning[key] = entry.held.memory_mib
        self._changed()

    def take(self, key: Key) -> None:
        """Count this no longer."""
        for standing in (self.held, self.lent, self.returning):
            standing.pop(key, None)
        self._changed()

    def _changed(self) -> None:
        self.hopeless.clear()
        self._loads = self._used_mib = self._tops = self._fill = self._models = None

    def _sum(self, held: Iterable[Held]) -> list[int]:
        loads = [0] * self.chunks
        for one in held:
            share = one.permille
            for chunk in one.chunks:
                loads[chunk] += share
        return loads

    def _weights(self) -> dict[Digest, float]:
        if self._models is None:
            self._models = {}
            for held in self.held.values():
                known = self._models.get(held.digest, 0.0)
                told = held.weights_mib if held.chunks else 0.0
                self._models[held.digest] = min(known, told) if known and told else known or told
        return self._models

    def _shared_mib(self) -> float:
        """What replicas of one model save because their weights are here once."""
        holders: dict[Digest, list[float]] = {}
        for held in self.held.values():
            if held.chunks:
                holders.setdefault(held.digest, []).append(held.memory_mib)
        saved = 0.0
        for digest, memories in holders.items():
            weights_mib = self._weights().get(digest, 0.0)
            if len(memories) > 1 and weights_mib:
                saved += sum(sorted(min(mib, weights_mib) for mib in memories)[:-1])
        return saved


def tops(free: list[int]) -> list[int]:
    """The upper corners of the maximal free rectangles of a histogram: the greatest height of each width from 0 on."""
    best = [PER_MILLE] + [0] * len(free)
    for first in range(len(free)):
        height = free[first]
        for last in range(first, len(free)):
            height = min(height, free[last])
            if height <= 0:
                break
            best[last - first + 1] = max(best[last - first + 1], height)
    return best


def _count(index: dict[Name, dict[Place, int]], name: Name, place: Place, more: int) -> None:
    places = index.setdefault(name, {})
    places[place] = places.get(place, 0) + more
    if not places[place]:
        del places[place]
        if not places:
            del index[name]


Fullness = tuple[float, float, DeviceId]


@dataclass(slots=True)
class Books:
    """All entries by key and by device, and the rooms of the devices that can take replicas, fullest first."""

    entries: dict[Key, Entry] = field(default_factory=dict)
    on: dict[DeviceId, dict[Key, Entry]] = field(default_factory=dict)
    rooms: dict[DeviceId, Room] = field(default_factory=dict)
    models: dict[Digest, dict[DeviceId, int]] = field(default_factory=dict)
    functions: dict[FunctionName, dict[tuple[DeviceId, int], int]] = field(default_factory=dict)
    version: int = 0
    changed: dict[DeviceId, int] = field(default_factory=dict)
    _by_node: dict[NodeId, list[DeviceId]] = field(default_factory=dict)
    _order: list[Fullness] = field(default_factory=list)
    _place: dict[DeviceId, Fullness] = field(default_factory=dict)

    def enter(self, key: Key, entry: Entry | None) -> None:
        """This is what a key means from now on; None: nothing any more."""
        before = self.entries.get(key)
        if before == entry:
            return
        if before is not None:
            del self.entries[key]
            self._leave(key, before)
        if entry is not None:
            self.entries[key] = entry
            self.on.setdefault(entry.device, {})[key] = entry
            self._count(entry, 1)
            room = self.rooms.get(entry.device)
            if room is not None:
                room.put(key, entry)
                self._reorder(room)

    def open(self, room: Room) -> None:
        """A device can take replicas, as large as this; what is on it is known already."""
        known = self.rooms.get(room.device)
        if known is not None and (known.node, known.chunks, known.memory_mib) == (
            room.node,
            room.chunks,
            room.memory_mib,
        ):
            return
        if known is not None:
            self.close(known.node, known.device)
        self.rooms[room.device] = room
        self._by_node.setdefault(room.node, []).append(room.device)
        for key, entry in self.on.get(room.device, {}).items():
            room.put(key, entry)
        self._reorder(room)

    def close(self, node: NodeId, device: DeviceId) -> None:
        """A device can take replicas no longer."""
        room = self.rooms.get(device)
        if room is not None and room.node == node:
            del self.rooms[device]
            self._by_node[node].remove(device)
            self._unlist(device)

    def devices_of(self, node: NodeId) -> list[DeviceId]:
        """The rooms of a node, by device."""
        return list(self._by_node.get(node, ()))

    def fullest_first(self, least_free: float = 0.0) -> Iterator[Room]:
        """The rooms with so much of their time free or more, in parts per thousand; those with the least first."""
        first = bisect_left(self._order, (least_free, float("-inf"), DeviceId(""))) if least_free else 0
        return (self.rooms[device] for _, _, device in islice(self._order, first, None))

    def changed_since(self, version: int) -> Iterator[Room]:
        """The rooms that are another than they were at this version, the last to change first."""
        for device, changed in reversed(self.changed.items()):
            if changed <= version:
                return
            if device in self.rooms:
                yield self.rooms[device]

    def _leave(self, key: Key, entry: Entry) -> None:
        there = self.on[entry.device]
        del there[key]
        self._count(entry, -1)
        if not there:
            del self.on[entry.device]
        room = self.rooms.get(entry.device)
        if room is not None:
            room.take(key)
            self._reorder(room)

    def _count(self, entry: Entry, more: int) -> None:
        """Where each model is, and each function with which generation; and how often."""
        if entry.standing is Standing.HELD:
            _count(self.models, entry.held.digest, entry.device, more)
            _count(self.functions, entry.held.function, (entry.device, entry.held.generation), more)

    def _reorder(self, room: Room) -> None:
        self._unlist(room.device)
        fullness = (*room.fill, room.device)
        self._place[room.device] = fullness
        insort(self._order, fullness)
        self.version += 1
        self.changed.pop(room.device, None)
        self.changed[room.device] = self.version

    def _unlist(self, device: DeviceId) -> None:
        place = self._place.pop(device, None)
        if place is not None:
            del self._order[bisect_left(self._order, place)]
