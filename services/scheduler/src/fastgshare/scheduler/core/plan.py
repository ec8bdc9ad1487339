"""A plan under way: decisions become commands and state at once, so that the next decision counts on them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from msgspec.structs import replace

from fastgshare.scheduler.core import packing, repacking
from fastgshare.scheduler.core.books import Books, Key
from fastgshare.scheduler.core.commands import (
    Command,
    MoveReplica,
    PlaceReplica,
    RemoveReplica,
    Report,
    ResizeReplica,
)
from fastgshare.scheduler.core.liveness import serving_device
from fastgshare.scheduler.core.rearranging import Effort
from fastgshare.scheduler.core.settings import Settings
from fastgshare.scheduler.core.state import (
    AWAITS_LOAN,
    AWAITS_ROOM,
    FunctionState,
    Loan,
    Placed,
    State,
    TakenBack,
    Tried,
)
from fastgshare.shared.ids import DeviceId, FunctionName, ReplicaId
from fastgshare.shared.messages import FunctionSpec, Placement, Slice

MANY = 64
"""From so many devices on, it is no dearer to look at all."""


@dataclass(slots=True)
class Plan:
    """The commands of one step. Only a leader has one. `has_sought`: a replica to make way was looked for already."""

    state: State
    settings: Settings
    now_us: int
    epoch: int
    commands: list[Command] = field(default_factory=list)
    effort: Effort = field(default_factory=lambda: Effort(repacking.EFFORT))
    has_sought: bool = False

    def place(self, function: FunctionState, spec: FunctionSpec, reason: str, others: Sequence[Slice] = ()) -> bool:
        """Place one more replica where it fits best; False and one report when there is no room.

        Where `spec.slice` fits nowhere, the first of `others` that does: other shapes that do the same. Where none
        does, room is made by moving windows on one device, then by moving a replica to another device.
        """
        shapes = [spec, *(replace(spec, slice=other) for other in others)]
        rooms = self._worth_a_look(function, shapes)
        for shape in shapes:
            if (slot := self._choose(function, shape, rooms)) is not None:
                self._put(function, shape, slot, reason)
                return True
        undecided: dict[DeviceId, bool] = {}
        if any(packing.ever_fits(self.books.fullest_first(), shape) for shape in shapes):
            for shape in shapes:
                if self._rearrange_for(function, shape, reason, rooms, undecided):
                    return True
            if any(self._take_back_for(function, shape, rooms) for shape in shapes):
                return False
            if self._make_room_for(function, spec):
                return False
        slices = tuple(shape.slice for shape in shapes)
        function.tried = Tried(spec.generation, slices, self.books.version, tuple(undecided))
        self._no_room(function, spec, reason)
        return False

    def _worth_a_look(self, function: FunctionState, shapes: Sequence[FunctionSpec]) -> Books | list[packing.Room]:
        """The devices on which one of these may find room: all, or those that changed since there was none."""
        tried, known = function.tried, self.books
        asked = shapes[0].generation, tuple(shape.slice for shape in shapes)
        if tried is None or (tried.generation, tried.slices) != asked:
            return known
        fresh = {room.device: room for room in islice(known.changed_since(tried.version), MANY)}
        fresh.update({device: known.rooms[device] for device in tried.undecided[:MANY] if device in known.rooms})
        if len(fresh) >= MANY:
            return known
        return sorted(fresh.values(), key=lambda room: (*room.fill, room.device))

    def place_understudy(self, old: Placed, slot: packing.Slot, reason: str) -> None:
        """Have another replica come up that takes over from `old` once it is ready."""
        function = self.state.function(old.placement.function.name)
        self._put(function, old.placement.function, slot, reason, replaces=old.key)
        function.settled, function.scale.still = False, None
        function.moved_us = self.now_us

    def resize(self, placed: Placed, spec: FunctionSpec, reason: str) -> bool:
        """Have a replica take `spec` on where it is; False where its device has no time left for that.

        Another width takes other chunks of the device, rather such as overlap those it has. Where memory differs it
        has to suffice too.
        """
        before = placed.placement
        room = self.room(before.device)
        chunks: tuple[int, ...] | None = before.chunks
        if room is not None:
            chunks = repacking.resized(room, placed, spec)
            if chunks is None:
                return False
        elif spec.slice.sm_partition != before.function.slice.sm_partition:
            return False  # its device is away: how many chunks that would be shows when it is back
        self.rewrite(placed, replace(before, function=spec, chunks=chunks, epoch=self.epoch, reason=reason))
        self.commands.append(ResizeReplica(placed.placement, reason))
        return True

    def move(self, placed: Placed, chunks: tuple[int, ...], reason: str) -> None:
        """Have a replica go over to other chunks of its device, between two batches."""
        self.rewrite(placed, replace(placed.placement, chunks=chunks, epoch=self.epoch, reason=reason))
        self.commands.append(MoveReplica(placed.placement, reason))

    def rewrite(self, placed: Placed, after: Placement) -> None:
        """Its placement is another from now on, and on its way to the bucket."""
        if placed.confirmed:
            placed.resized_from = placed.placement
        placed.placement, placed.confirmed = replace(after, replaces=placed.replaces), False
        self.state.changed(after.node, placed.key)

    def remove(self, placed: Placed, reason: str) -> None:
        """Take a replica away; what it holds is free when its node has let go of it."""
        self.state.leave(placed)
        placement = placed.placement
        if not placement.loan:
            self.state.changed_us[placement.device] = self.now_us
        self.commands.append(
            RemoveReplica(
                placement.node, placement.replica, placement.function.name, self.epoch, reason, placement.loan
            )
        )

    def take_back(self, loan: Loan, reason: str) -> None:
        """End a loan; whoever asks for it again is told why, unless another stands for the same wish."""
        placement = loan.placed.placement
        is_the_one = self.state.loan_for(placement.loan) is loan
        self.remove(loan.placed, reason)
        if is_the_one:
            self.state.taken_back[placement.loan] = TakenBack(reason, self.now_us)

    def report(self, kind: str, function: FunctionName, text: str) -> None:
        """Tell people."""
        self.commands.append(Report(kind, function, text))

    @property
    def books(self) -> Books:
        """What stands on the devices, as it will be after what was decided so far."""
        return packing.books(self.state)

    def rooms(self) -> list[packing.Room]:
        """The devices as they will be after what was decided so far, fullest first."""
        return list(self.books.fullest_first())

    def room(self, device: DeviceId) -> packing.Room | None:
        """One of them."""
        return self.books.rooms.get(device)

    def _choose(
        self,
        function: FunctionState,
        spec: FunctionSpec,
        rooms: Books | list[packing.Room] | None = None,
        after_loans: bool = False,
    ) -> packing.Slot | None:
        beside = {placed.placement.node: 1 for placed in function.placed.values() if not placed.leaving}
        return packing.choose(
            self.books if rooms is None else rooms, spec, self._avoided(function), after_loans, beside
        )

    def _put(
        self, function: FunctionState, spec: FunctionSpec, slot: packing.Slot, reason: str, replaces: Key = ""
    ) -> None:
        function.blocked = "" if not replaces else function.blocked
        placement = Placement(
            replica=self._new_id(function, spec),
            node=slot.node,
            device=slot.device,
            chunks=slot.chunks,
            epoch=self.epoch,
            function=spec,
            reason=reason,
            replaces=replaces,
        )
        self.state.add_placed(Placed(placement, since_us=self.now_us, confirmed=False, replaces=replaces))
        self.state.changed_us[placement.device] = self.now_us
        self.commands.append(PlaceReplica(placement, reason))

    def _rearrange_for(
        self,
        function: FunctionState,
        spec: FunctionSpec,
        reason: str,
        rooms: Books | list[packing.Room],
        undecided: dict[DeviceId, bool],
    ) -> bool:
        """Move windows on one device so that a replica fits there, and place it; else note where that is undecided."""
        fullest_first = rooms.fullest_first() if isinstance(rooms, Books) else rooms
        search = repacking.rearrange(self.state, fullest_first, spec, self._avoided(function), self.effort)
        found = search.found
        if found is None:
            undecided.update(dict.fromkeys(search.undecided, True))
            return False
        for placed, chunks in found.moves:
            self.move(placed, chunks, f"makes room for a replica of '{spec.name}' on {found.slot.device}")
        self._put(function, spec, found.slot, reason)
        return True

    def _make_room_for(self, function: FunctionState, spec: FunctionSpec) -> bool:
        """Have a replica go to another device, where that would let this one in; one at a time."""
        state = self.state
        recently = function.moved_us is not None and self.now_us - function.moved_us < self.settings.make_room_us
        if recently or self.has_sought or state.understudies or state.leaving or function.sought == self.books.version:
            return False
        function.moved_us, self.has_sought = self.now_us, True
        found = repacking.make_room(state, self.books, spec, self.now_us, self.effort)
        function.sought = self.books.version if found is None and self.effort.left > 0 else None
        if found is None:
            return False
        old = found.old.placement
        self.place_understudy(
            found.old, found.slot, f"takes over from {old.replica}: '{spec.name}' needs its room on {old.device}"
        )
        function.blocked = AWAITS_ROOM
        return True

    def _take_back_for(self, function: FunctionState, spec: FunctionSpec, rooms: Books | list[packing.Room]) -> bool:
        """Have the loans leave whose memory is all that is missing; their nodes let go of them before it is placed."""
        slot = self._choose(function, spec, rooms, after_loans=True)
        if slot is None:
            return False
        function.blocked = AWAITS_LOAN
        room = self.room(slot.device)
        for key in list(room.lent) if room is not None else ():
            self.take_back(self.state.loans[key], f"'{spec.name}' needs its memory")
        return True

    def _no_room(self, function: FunctionState, spec: FunctionSpec, reason: str) -> None:
        """Reported once for each shape that found no room, not at each attempt; not while some is being freed."""
        rooms = self.rooms()
        if self._room_appears(rooms, spec):
            function.blocked = function.blocked or AWAITS_ROOM
            return
        shape = f"g{spec.generation} {spec.slice}"
        if function.blocked != shape:
            function.blocked = shape
            self.report("no_room", function.name, f"{packing.shortage(rooms, spec)} ({reason})")

    def _room_appears(self, rooms: Sequence[packing.Room], spec: FunctionSpec) -> bool:
        """Whether a node is letting go of a replica or is about to, or of a loan whose memory is what is missing."""
        state = self.state
        if rooms and not packing.ever_fits(rooms, spec):
            return False
        if state.understudies:
            return True
        leaving = [placed.placement for placed in state.leaving.values()]
        departing = [placement for placement in state.departing.values() if not placement.loan]
        if any(serving_device(state, placement.node, placement.device) for placement in (*leaving, *departing)):
            return True
        return packing.will_fit(rooms, spec)

    def _avoided(self, function: FunctionState) -> list[DeviceId]:
        """Devices that disappointed this function, and such as are being emptied."""
        shunned = [device for device, until_us in function.avoid_until_us.items() if until_us > self.now_us]
        return [*shunned, *repacking.emptied(self.state)]

    def _new_id(self, function: FunctionState, spec: FunctionSpec) -> ReplicaId:
        """Unique for ever by term and count within it; should terms start over, what exists is skipped."""
        taken = {placed.placement.replica for placed in function.placed.values()}
        while True:
            self.state.replicas_named += 1
            number = self.state.replicas_named
            replica = ReplicaId(f"{spec.name}-g{spec.generation}-{self.epoch}-{number}")
            if replica not in taken and not self.state.is_reported(replica):
                return replica
