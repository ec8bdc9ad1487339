"""Where a replica goes: a device, and chunks of it.

The load of a chunk is the sum of `quota_request` over the replicas on it, at most 1; the memory of a device is the
sum of `gpu_mem_mib`, at most what it has. During an update the other generations of the same function do not count
towards time, because they leave when the new one is ready; they always count towards memory.

What is on loan takes no time and makes no device better or worse than another; its memory is taken until there is
no other room, and then it is the loan that has to leave.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from fastgshare.scheduler.core.liveness import occupies, serving_device
from fastgshare.scheduler.core.state import Key, State
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, NodeId
from fastgshare.shared.messages import FunctionSpec, Placement, ReplicaState

FULL = 1 + 1e-9


class Held(NamedTuple):
    """What one replica takes of a device: `quota` of the time of each of `chunks`, and memory."""

    function: FunctionName
    generation: int
    chunks: tuple[int, ...]
    quota: float
    memory_mib: float
    digest: Digest


class Slot(NamedTuple):
    """A place for a replica."""

    node: NodeId
    device: DeviceId
    chunks: tuple[int, ...]


@dataclass(slots=True)
class Room:
    """A device that can take replicas, and what is on it.

    `lent` is the memory of loans, by their keys, that can be taken back; `returning_mib` that of those that leave.
    """

    node: NodeId
    device: DeviceId
    chunks: int
    memory_mib: int
    held: list[Held] = field(default_factory=list)
    lent: dict[Key, float] = field(default_factory=dict)
    returning_mib: float = 0.0

    @property
    def free_mib(self) -> float:
        """Memory that no function holds."""
        return self.memory_mib - sum(held.memory_mib for held in self.held)

    def open_mib(self, after_loans: bool = False) -> float:
        """Memory to be had at once, or once the loans that can be taken back have left."""
        lent_mib = 0.0 if after_loans else sum(self.lent.values())
        return self.free_mib - self.returning_mib - lent_mib

    def take_back(self, key: Key) -> None:
        """Count this loan as on its way out."""
        self.returning_mib += self.lent.pop(key, 0.0)

    def loads(self) -> list[float]:
        """The load of each chunk."""
        return self._sum(self.held)

    def loads_after_update(self, function: FunctionName, generation: int) -> list[float]:
        """The load of each chunk once `function` has only this generation left."""
        return self._sum(held for held in self.held if held.function != function or held.generation == generation)

    def has_model(self, digest: Digest) -> bool:
        """Whether a function's replica has these weights here."""
        return any(held.digest == digest for held in self.held)

    def calmest(self, wide: int) -> tuple[int, ...]:
        """So many neighbouring chunks, those with the least load."""
        return _calmest(self.loads(), [tuple(range(first, first + wide)) for first in range(self.chunks - wide + 1)])

    def is_crowded(self, placement: Placement) -> bool:
        """Whether there is more on this device, where `placement` is, than the device has."""
        loads = self.loads_after_update(placement.function.name, placement.function.generation)
        return self.free_mib < 0 or any(loads[chunk] > FULL for chunk in placement.chunks)

    def can_hold(self, before: Placement, after: Placement) -> bool:
        """Whether a replica that is here can hold another slice on the same chunks."""
        others = self.loads_without(holding(before))
        taken = after.function.slice.quota_request
        return all(others[chunk] + taken <= FULL for chunk in after.chunks)

    def loads_without(self, own: Held) -> list[float]:
        """The load of each chunk but for one holder, once its function has only that generation left."""
        loads = self.loads_after_update(own.function, own.generation)
        for chunk in own.chunks if own in self.held else ():
            loads[chunk] -= own.quota
        return loads

    def change(self, before: Placement, after: Placement) -> None:
        """Count a holder by what it holds from now on."""
        own = holding(before)
        if own in self.held:
            self.held.remove(own)
        self.held.append(holding(after))

    def _sum(self, held: Iterable[Held]) -> list[float]:
        loads = [0.0] * self.chunks
        for one in held:
            for chunk in one.chunks:
                loads[chunk] += one.quota
        return loads


def rooms(state: State) -> list[Room]:
    """Every device that can take replicas now, in the order of their names."""
    found: dict[DeviceId, Room] = {}
    for node in sorted(state.nodes):
        for name, view in sorted(state.nodes[node].devices.items()):
            if serving_device(state, node, name):
                found[name] = Room(node, name, view.device.chunks, view.device.memory_mib)
    for placed in state.placed.values():
        room = found.get(placed.placement.device)
        if room is not None and occupies(state, placed):
            room.held.append(holding(placed.placement))
    _put_loans(state, found)
    for key, reported in state.reported.items():
        status = reported.status
        room = found.get(status.device)
        if room is None or key in state.placed or key in state.loans or status.state is ReplicaState.FAILED:
            continue
        leftover = _leftover(state, key)
        if status.loan:
            room.returning_mib += leftover.memory_mib
        else:
            room.held.append(leftover)
    return list(found.values())


def _put_loans(state: State, found: Mapping[DeviceId, Room]) -> None:
    for key, loan in state.loans.items():
        room = found.get(loan.placed.placement.device)
        if room is not None and occupies(state, loan.placed):
            room.lent[key] = loan.placed.placement.function.slice.gpu_mem_mib
            if loan.placed.leaving:
                room.take_back(key)


def holding(placement: Placement) -> Held:
    """What a placement takes."""
    function = placement.function
    return Held(
        function.name,
        function.generation,
        placement.chunks,
        function.slice.quota_request,
        function.slice.gpu_mem_mib,
        function.model.digest,
    )


def _leftover(state: State, key: str) -> Held:
    """What a replica whose placement is gone holds until it has drained: memory, and no more time."""
    status = state.reported[key].status
    departing = state.departing.get(key)
    memory_mib = max(status.memory_mib, departing.function.slice.gpu_mem_mib if departing else 0)
    return Held(status.function, status.generation, (), 0.0, memory_mib, status.model_digest)


def width(sm_partition: int, chunks: int) -> int:
    """How many of a device's `chunks` a replica takes: its percentage, rounded up."""
    return max(1, -(-sm_partition * chunks // 100))


def choose(
    found: Sequence[Room], spec: FunctionSpec, avoid: Iterable[DeviceId] = (), after_loans: bool = False
) -> Slot | None:
    """The best place for a replica of `spec`, now or once the loans there have left, or None.

    Rather not on a device in `avoid`, rather where its model is already, then on the device left fullest.
    """
    shunned = frozenset(avoid)
    candidates = []
    for room in found:
        chunks = _fit(room, spec, room.open_mib(after_loans))
        if chunks is not None:
            candidates.append((_rank(room, spec, chunks, room.device in shunned), room, chunks))
    if not candidates:
        return None
    _, room, chunks = min(candidates, key=lambda candidate: candidate[0])
    return Slot(room.node, room.device, chunks)


def will_fit(found: Iterable[Room], spec: FunctionSpec) -> bool:
    """Whether there is room once the loans that leave have left."""
    return any(room.returning_mib and _fit(room, spec, room.free_mib) is not None for room in found)


def _rank(
    room: Room, spec: FunctionSpec, chunks: tuple[int, ...], shunned: bool
) -> tuple[bool, bool, float, float, str]:
    """Lower is better; the device's name decides between equals."""
    has_model = room.has_model(spec.model.digest)
    load = sum(room.loads()) + spec.slice.quota_request * len(chunks)
    return shunned, not has_model, -round(load / room.chunks, 9), room.free_mib, room.device


def _fit(room: Room, spec: FunctionSpec, open_mib: float) -> tuple[int, ...] | None:
    """The chunks a replica of `spec` would get here: neighbours if possible, the least loaded, the first."""
    wide = width(spec.slice.sm_partition, room.chunks)
    if spec.slice.gpu_mem_mib > open_mib:
        return None
    loads = room.loads()
    fits = _open_chunks(room, spec)
    if len(fits) < wide:
        return None
    open_chunks = set(fits)
    windows = [
        tuple(range(first, first + wide))
        for first in range(room.chunks - wide + 1)
        if open_chunks.issuperset(range(first, first + wide))
    ]
    if not windows:
        return tuple(sorted(sorted(fits, key=lambda chunk: (loads[chunk], chunk))[:wide]))
    return _calmest(loads, windows)


def _calmest(loads: list[float], windows: list[tuple[int, ...]]) -> tuple[int, ...]:
    return min(windows, key=lambda window: (_peak(loads, window), _total(loads, window), window))


def _open_chunks(room: Room, spec: FunctionSpec) -> list[int]:
    """The chunks with enough time left for a replica of `spec`."""
    loads = room.loads_after_update(spec.name, spec.generation)
    return [chunk for chunk, load in enumerate(loads) if load + spec.slice.quota_request <= FULL]


def _peak(loads: list[float], window: tuple[int, ...]) -> float:
    return round(max(loads[chunk] for chunk in window), 9)


def _total(loads: list[float], window: tuple[int, ...]) -> float:
    return round(sum(loads[chunk] for chunk in window), 9)


def shortage(found: Sequence[Room], spec: FunctionSpec) -> str:
    """Why `choose` found nothing, with the numbers of the device that comes closest."""
    need = f"{spec.slice.gpu_mem_mib} MiB"
    if not found:
        return f"a replica needs {spec.slice.sm_partition}% of a device and {need}, and no device is there"
    percent = spec.slice.sm_partition
    room = max(found, key=lambda room: (len(_open_chunks(room, spec)) >= width(percent, room.chunks), room.free_mib))
    return (
        f"a replica needs {width(percent, room.chunks)} of {room.chunks} chunks"
        f" with {spec.slice.quota_request:.0%} of their time free, and {need};"
        f" {room.device} has {len(_open_chunks(room, spec))} such chunks"
        f" and {max(0, int(room.free_mib))} of {room.memory_mib} MiB"
    )
