"""A device emptied into others that are in use: which replicas would go where, and in which order.

Devices are sets of windows here; how these lie on the chunks is only asked for as "can they all lie". Where a replica
of the device that is to be emptied fits nowhere, one or two smaller ones may leave another device for others to let it
in. All or nothing: a device from which only some can go stays as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

from fastgshare.scheduler.core import repacking, windows
from fastgshare.scheduler.core.books import Books, Key, Room, permille
from fastgshare.scheduler.core.rearranging import Effort, Shape, holds_all
from fastgshare.scheduler.core.records import Placed
from fastgshare.scheduler.core.settings import Settings
from fastgshare.scheduler.core.state import State
from fastgshare.shared.ids import DeviceId, NodeId
from fastgshare.shared.units import PER_MILLE

EFFORT = 2_000
"""Steps of the search in one decision."""
STEPS_EACH = 200
"""Of these, for one question whether windows can lie on a device."""
VICTIMS = 6
"""So many of the devices with the least on them are tried."""
ATTEMPTS = 6 * VICTIMS
HOSTS = 24
"""So many of the devices with the most room are looked at as their new home."""
MAX_REPLICAS = 10
"""A device with more replicas is not emptied."""
SHALLOW_TURNS = 4
"""In so many orders one other may have to go elsewhere for one replica; then two."""


class Passenger(NamedTuple):
    """A replica on the move, or one that stays where it is (`placed` None)."""

    key: Key
    percent: int
    share: int
    memory_mib: float
    placed: Placed | None


class Transfer(NamedTuple):
    """This replica goes to that device."""

    key: Key
    device: DeviceId


def calm_rooms(state: State, found: Books, now_us: int, settings: Settings) -> list[Room]:
    """The devices in use on which nothing was placed or removed for a while, those left fullest first."""
    before_us = now_us - settings.consolidate_us
    if state.led_us > before_us:
        return []
    changed_us = state.changed_us
    return [room for room in found.fullest_first() if room.held and changed_us.get(room.device, 0) <= before_us]


def plan_exodus(state: State, found: Books, victims: Sequence[Room], attempt: int, now_us: int) -> tuple[Transfer, ...]:
    """How to empty one of the `victims` with the least on them; nothing if that cannot be.

    Each `attempt` of `ATTEMPTS` takes another device or goes about it in another order, so that none takes long.
    """
    turn, number = divmod(attempt, VICTIMS)
    used = [room for room in found.fullest_first() if room.held]
    if number >= len(victims):
        return ()
    victim = victims[-1 - number]
    moving = repacking.smallest_first(state, victim)
    if not moving or len(moving) < len(victim.held) or len(moving) > MAX_REPLICAS:
        return ()
    moving.reverse()
    hosts = [room for room in used[-HOSTS - VICTIMS :] if room is not victim]
    if turn & 1:
        hosts.reverse()
    if turn & 2:
        moving.sort(key=lambda placed: -placed.placement.function.slice.gpu_mem_mib)
    depth = 1 if turn < SHALLOW_TURNS else 2
    journey = _Journey(state, now_us, Effort(EFFORT), {room.device: _Host.of(state, room) for room in hosts})
    if all(journey.settle(_passenger(placed), depth, (victim.device,)) for placed in moving):
        return tuple(journey.transfers)
    return ()


def _passenger(placed: Placed) -> Passenger:
    held = placed.placement.function.slice
    return Passenger(placed.key, held.sm_partition, permille(held.quota_request), held.gpu_mem_mib, placed)


@dataclass(slots=True)
class _Host:
    """A device and who would be on it. `fixed` is the load of what cannot be anywhere else on its chunks."""

    node: NodeId
    device: DeviceId
    chunks: int
    memory_mib: float
    fixed: list[int]
    aboard: list[Passenger] = field(default_factory=list)

    @classmethod
    def of(cls, state: State, room: Room) -> "_Host":
        host = cls(room.node, room.device, room.chunks, room.open_mib(), list(room.loads()))
        for placed in repacking.smallest_first(state, room):
            held = room.held[placed.key]
            if held.chunks != windows.window(held.chunks[0], len(held.chunks)):
                continue
            host.aboard.append(_passenger(placed))
            host.memory_mib += held.memory_mib
            for chunk in held.chunks:
                host.fixed[chunk] -= held.permille
        return host

    def shape(self, one: Passenger) -> Shape:
        """What it takes here."""
        return Shape(windows.width(one.percent, self.chunks), one.share)

    def holds(self, aboard: list[Passenger], effort: Effort) -> bool:
        """Whether these could all be here."""
        shapes = [self.shape(one) for one in aboard]
        if sum(one.memory_mib for one in aboard) > self.memory_mib or any(s.wide > self.chunks for s in shapes):
            return False
        if sum(s.wide * s.share for s in shapes) + sum(self.fixed) > PER_MILLE * self.chunks or effort.left <= 0:
            return False
        allowed = Effort(min(STEPS_EACH, effort.left))
        left = allowed.left
        found = max(self.fixed) <= PER_MILLE and holds_all(self.fixed, shapes, allowed)
        effort.left -= left - max(0, allowed.left)
        return found


@dataclass(slots=True)
class _Journey:
    """The search: who is where by now, and the transfers that led there, in order."""

    state: State
    now_us: int
    effort: Effort
    hosts: dict[DeviceId, _Host]
    transfers: list[Transfer] = field(default_factory=list)

    def settle(self, one: Passenger, depth: int, shut: tuple[DeviceId, ...]) -> bool:
        """Find a home for one; all is as before where there is none."""
        open_hosts = [host for host in self.hosts.values() if host.device not in shut and self._may_be_on(one, host)]
        for host in open_hosts:
            if host.holds([*host.aboard, one], self.effort):
                host.aboard.append(one)
                self.transfers.append(Transfer(one.key, host.device))
                return True
        return depth > 0 and any(self._displace(one, host, depth, shut) for host in open_hosts)

    def _displace(self, one: Passenger, host: _Host, depth: int, shut: tuple[DeviceId, ...]) -> bool:
        """Have a smaller one, or two, leave this device for another, so that `one` can be here."""
        moved = {transfer.key for transfer in self.transfers}
        size = host.shape(one).wide * one.share

        def area(other: Passenger) -> int:
            return host.shape(other).wide * other.share

        able = [o for o in host.aboard if o.key not in moved and (area(o) < size or o.memory_mib < one.memory_mib)]
        able.sort(key=lambda other: (area(other), other.key))
        for leaving in (*combinations(able, 1), *combinations(able, 2)):
            gone = {other.key for other in leaving}
            staying = [aboard for aboard in host.aboard if aboard.key not in gone]
            if not host.holds([*staying, one], self.effort):
                continue
            before = {device: list(other.aboard) for device, other in self.hosts.items()}, len(self.transfers)
            if all(self.settle(other, depth - 1, (*shut, host.device)) for other in leaving):
                host.aboard = [*staying, one]
                self.transfers.append(Transfer(one.key, host.device))
                return True
            for device, aboard in before[0].items():
                self.hosts[device].aboard = aboard
            del self.transfers[before[1] :]
        return False

    def _may_be_on(self, one: Passenger, host: _Host) -> bool:
        """Whether it does the same there, comes no nearer to its siblings, and was not disappointed there."""
        if one.placed is None or not self.state.suits(one.placed, host.node, host.device):
            return False
        function = self.state.function(one.placed.placement.function.name)
        if function.avoid_until_us.get(host.device, 0) > self.now_us:
            return False
        beside = {p.placement.node for p in function.placed.values() if p is not one.placed}
        return host.node not in beside or one.placed.placement.node in beside
