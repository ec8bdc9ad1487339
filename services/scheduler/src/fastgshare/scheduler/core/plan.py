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
from fastgshare.scheduler.core.records import (
    AWAITS_LOAN,
    AWAITS_ROOM,
    NEVER,
    FunctionState,
    Loan,
    Placed,
    TakenBack,
    Tried,
)
from fastgshare.scheduler.core.settings import Settings
from fastgshare.scheduler.core.state import State
from fastgshare.shared.ids import DeviceId, FunctionName, ReplicaId
from fastgshare.shared.messages import FunctionSpec, Placement, Slice

Offer = tuple[str, Slice]
"""A slice on a device of this kind; empty: of any."""
Wish = tuple[Sequence[Slice], str]
"""One replica with the first of these slices that fits, and the reason for it."""
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

    def place(
        self,
        function: FunctionState,
        spec: FunctionSpec,
        reason: str,
        others: Sequence[Slice] = (),
        kind: str = "",
        elsewhere: Sequence[Offer] = (),
    ) -> bool:
        """Place one more replica where it fits best; False and one report when there is no room.

        Where `spec.slice` fits nowhere, the first of `others` that does: other shapes that do the same, all of them on
        devices of `kind` (empty: of any); then what stands in for them `elsewhere`, on other kinds. Where none
        does, room is made by moving windows on one device, then by moving a replica to another device.
        """
        shapes = [spec, *(replace(spec, slice=other) for other in others)]
        offers = [(kind, shape) for shape in shapes]
        offers += [(where, replace(spec, slice=other)) for where, other in elsewhere]
        rooms = self._worth_a_look(function, offers)
        for where, shape in offers:
            if (slot := self._choose(function, shape, where, rooms)) is not None:
                self._put(function, shape, slot, reason)
                return True
        undecided: dict[DeviceId, bool] = {}
        if any(packing.ever_fits(self.rooms(kind), shape) for shape in shapes):
            for shape in shapes:
                if self._rearrange_for(function, shape, reason, kind, rooms, undecided):
                    return True
            if self._look_longer(function, shapes, reason, kind, undecided):
                return True
            if any(self._take_back_for(function, shape, kind, rooms) for shape in shapes):
                return False
            if self._make_room_for(function, spec, kind):
                return False
        asked = tuple((where, shape.slice) for where, shape in offers)
        function.tried = Tried(spec.generation, asked, self.books.version, tuple(undecided))
        self._no_room(function, spec, reason, kind)
        return False

    def _worth_a_look(
        self, function: FunctionState, offers: Sequence[tuple[str, FunctionSpec]]
    ) -> Books | list[packing.Room]:
        """The devices on which one of these may find room: all, or those that changed since there was none."""
        tried, known = function.tried, self.books
        asked = offers[0][1].generation, tuple((where, shape.slice) for where, shape in offers)
        if tried is None or (tried.generation, tried.asked) != asked:
            return known
        fresh = {room.device: room for room in islice(known.changed_since(tried.version), MANY)}
        fresh.update({device: known.rooms[device] for device in tried.undecided[:MANY] if device in known.rooms})
        if len(fresh) >= MANY:
            return known
        return sorted(fresh.values(), key=lambda room: (*room.fill, room.device))

    def place_together(self, function: FunctionState, spec: FunctionSpec, wishes: Sequence[Wish], kind: str) -> bool:
        """Place all of these slices where there is room as it is, or none of them; nobody moves, and no loan ends."""
        decided, blocked, changed_us = len(self.commands), function.blocked, dict(self.state.changed_us)
        before = set(function.placed)
        for slices, reason in wishes:
            shapes = (replace(spec, slice=held) for held in slices)
            found = next(((s, slot) for s in shapes if (slot := self._choose(function, s, kind)) is not None), None)
            if found is None:
                for key in [key for key in function.placed if key not in before]:
                    self.state.drop_placed(key)
                del self.commands[decided:]
                function.blocked, self.state.changed_us = blocked, changed_us
                return False
            self._put(function, *found, reason)
        return True

    def place_less(
        self, function: FunctionState, spec: FunctionSpec, slices: Sequence[Slice], reason: str, kind: str = ""
    ) -> bool:
        """Place a replica with the first of `slices`, the largest first, that fits; it goes on waiting for more room.

        Not while somebody who is in the way leaves, as there is room for more soon.
        """
        blocked = function.blocked
        if blocked in (AWAITS_ROOM, AWAITS_LOAN) or self._room_appears(self.rooms(kind), spec):
            return False
        held = packing.largest(self.books, spec, slices, kind)
        slot = self._choose(function, replace(spec, slice=held), kind) if held is not None else None
        if held is None or slot is None:
            return False
        self._put(function, replace(spec, slice=held), slot, f"{reason}; it is all that fits")
        function.blocked = blocked
        return True

    def stand_in(self, function: FunctionState, old: Placed) -> bool:
        """Bring up another for a replica whose device is away, where there is room at once."""
        placement = old.placement
        kind = self.state.kind_of(placement.node, placement.device) if function.is_sized else ""
        slot = self._choose(function, placement.function, kind)
        if slot is None:
            return False
        reason = f"stands in for {placement.replica}: {placement.device} is away"
        self._put(function, placement.function, slot, reason, replaces=old.key, stands_in=True)
        return True

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
                placement.node,
                placement.replica,
                placement.function.name,
                self.epoch,
                reason,
                placement.loan,
                placement.device if placement.loan else DeviceId(""),
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

    def rooms(self, kind: str = "") -> list[packing.Room]:
        """The devices (of a kind) as they will be after what was decided so far, fullest first."""
        return [room for room in self.books.fullest_first() if not kind or room.kind == kind]

    def room(self, device: DeviceId) -> packing.Room | None:
        """One of them."""
        return self.books.rooms.get(device)

    def _choose(
        self,
        function: FunctionState,
        spec: FunctionSpec,
        kind: str = "",
        rooms: Books | list[packing.Room] | None = None,
        after_loans: bool = False,
    ) -> packing.Slot | None:
        beside = {placed.placement.node: 1 for placed in function.placed.values() if not placed.leaving}
        known = self.books if rooms is None else rooms
        return packing.choose(known, spec, self._avoided(function), after_loans, beside, kind)

    def _put(
        self,
        function: FunctionState,
        spec: FunctionSpec,
        slot: packing.Slot,
        reason: str,
        replaces: Key = "",
        stands_in: bool = False,
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
        placed = Placed(placement, since_us=self.now_us, confirmed=False, replaces=replaces, stands_in=stands_in)
        self.state.add_placed(placed)
        self.state.changed_us[placement.device] = self.now_us
        self.commands.append(PlaceReplica(placement, reason))

    def _rearrange_for(
        self,
        function: FunctionState,
        spec: FunctionSpec,
        reason: str,
        kind: str,
        rooms: Books | list[packing.Room],
        undecided: dict[DeviceId, bool],
    ) -> bool:
        """Move windows on one device so that a replica fits there, and place it; else note where that is undecided."""
        fullest_first = rooms.fullest_first() if isinstance(rooms, Books) else rooms
        there = (room for room in fullest_first if not kind or room.kind == kind)
        search = repacking.rearrange(self.state, there, spec, self._avoided(function), self.effort)
        found = search.found
        if found is None:
            undecided.update(dict.fromkeys(search.undecided, True))
            return False
        for placed, chunks in found.moves:
            self.move(placed, chunks, f"makes room for a replica of '{spec.name}' on {found.slot.device}")
        self._put(function, spec, found.slot, reason)
        return True

    def _look_longer(
        self,
        function: FunctionState,
        shapes: Sequence[FunctionSpec],
        reason: str,
        kind: str,
        undecided: dict[DeviceId, bool],
    ) -> bool:
        """Search one device where that was given up, with more effort; once in `make_room_us`, as it takes a while."""
        device = repacking.next_to_look_at(self.state, undecided, self.now_us, self.settings.make_room_us)
        if device is None:
            return False
        usual, self.effort = self.effort, Effort(repacking.LONG_EFFORT)
        there, left = [self.books.rooms[device]], dict[DeviceId, bool]()
        found = any(self._rearrange_for(function, shape, reason, kind, there, left) for shape in shapes)
        self.effort = usual
        if device not in left:
            del undecided[device]
        return found

    def _make_room_for(self, function: FunctionState, spec: FunctionSpec, kind: str) -> bool:
        """Have a replica go to another device, where that would let this one in; one at a time."""
        state = self.state
        recently = function.moved_us is not None and self.now_us - function.moved_us < self.settings.make_room_us
        if recently or self.has_sought or state.understudies or state.leaving or function.sought == self.books.version:
            return False
        function.moved_us, self.has_sought = self.now_us, True
        found = repacking.make_room(state, self.books, spec, self.now_us, self.effort, kind)
        function.sought = self.books.version if found is None and self.effort.left > 0 else None
        if found is None:
            return False
        old = found.old.placement
        self.place_understudy(
            found.old, found.slot, f"takes over from {old.replica}: '{spec.name}' needs its room on {old.device}"
        )
        function.blocked = AWAITS_ROOM
        return True

    def _take_back_for(
        self, function: FunctionState, spec: FunctionSpec, kind: str, rooms: Books | list[packing.Room]
    ) -> bool:
        """Have the loans leave whose memory is all that is missing; their nodes let go of them before it is placed."""
        slot = self._choose(function, spec, kind, rooms, after_loans=True)
        if slot is None:
            return False
        function.blocked = AWAITS_LOAN
        room = self.room(slot.device)
        for key in list(room.lent) if room is not None else ():
            self.take_back(self.state.loans[key], f"'{spec.name}' needs its memory")
        return True

    def _no_room(self, function: FunctionState, spec: FunctionSpec, reason: str, kind: str) -> None:
        """Wait for room, and tell so; not while some is being freed."""
        rooms = self.rooms(kind)
        if self._room_appears(rooms, spec):
            function.blocked = function.blocked or AWAITS_ROOM
            return
        never = "" if packing.ever_fits(rooms, spec) else NEVER
        wish, text = f"{spec.slice}", ""
        if self._is_to_tell(function, wish):
            text = packing.shortage(rooms, spec)
            if kind and self._choose(function, spec) is not None:
                text = f"there is room only on devices that are not known to keep the objective; of {kind}, {text}"
            text = f"{text} ({reason})"
        self.wait(function, f"{never}g{spec.generation}", wish, text)

    def wait(self, function: FunctionState, blocked: str, wish: str, text: str) -> None:
        """Have a function wait for room; told at once, and another wish than that once in `tell_us`."""
        is_to_tell = self._is_to_tell(function, wish)
        function.blocked = blocked
        if is_to_tell:
            function.told_us, function.told_wish = self.now_us, wish
            self.report("no_room", function.name, text)

    def _is_to_tell(self, function: FunctionState, wish: str) -> bool:
        """Whether people do not know yet that it waits for this, and were not told lately."""
        if function.told_us is None:
            return True
        is_new = not function.blocked or function.told_wish != wish
        return is_new and self.now_us - function.told_us >= self.settings.tell_us

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
