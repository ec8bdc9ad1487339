"""A plan under way: decisions become commands and state at once, so that the next decision counts on them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from fastgshare.scheduler.core import packing
from fastgshare.scheduler.core.commands import Command, PlaceReplica, RemoveReplica, Report, ResizeReplica
from fastgshare.scheduler.core.liveness import serving_device
from fastgshare.scheduler.core.settings import Settings
from fastgshare.scheduler.core.state import AWAITS_LOAN, AWAITS_ROOM, FunctionState, Loan, Placed, State, TakenBack
from fastgshare.shared.ids import DeviceId, FunctionName, ReplicaId
from fastgshare.shared.messages import FunctionSpec, Placement, Slice


@dataclass(slots=True)
class Plan:
    """The commands of one step. Only a leader has one."""

    state: State
    settings: Settings
    now_us: int
    epoch: int
    commands: list[Command] = field(default_factory=list)
    _rooms: list[packing.Room] | None = None

    def place(self, function: FunctionState, spec: FunctionSpec, reason: str, others: Sequence[Slice] = ()) -> bool:
        """Place one more replica where it fits best; False and one report when there is no room.

        Where its slice does not fit, the first of `others` that does takes its place: they do as much.
        """
        slot = packing.choose(self.rooms(), spec, self._avoided(function))
        for other in others if slot is None else ():
            shaped = replace(spec, slice=other)
            slot = packing.choose(self.rooms(), shaped, self._avoided(function))
            if slot is not None:
                spec = shaped
                break
        if slot is None:
            if not self._take_back_for(function, spec):
                self._no_room(function, spec, reason)
            return False
        function.blocked = ""
        placement = Placement(
            replica=self._new_id(function, spec),
            node=slot.node,
            device=slot.device,
            chunks=slot.chunks,
            epoch=self.epoch,
            function=spec,
            reason=reason,
        )
        self.state.add_placed(Placed(placement, since_us=self.now_us, confirmed=False))
        self._changed_on(slot, packing.holding(placement))
        self.commands.append(PlaceReplica(placement, reason))
        return True

    def resize(self, placed: Placed, spec: FunctionSpec, reason: str) -> bool:
        """Have a replica take `spec` on where it is; False where its chunks have no time left for that."""
        before = placed.placement
        after = replace(before, function=spec, epoch=self.epoch, reason=reason)
        for room in self.rooms():
            if room.device == before.device:
                if not room.can_hold(before, after):
                    return False
                room.change(before, after)
        if placed.confirmed:
            placed.resized_from = before
        placed.placement, placed.confirmed = after, False
        self.commands.append(ResizeReplica(after, reason))
        return True

    def remove(self, placed: Placed, reason: str) -> None:
        """Take a replica away; what it holds is free when its node has let go of it."""
        placed.leaving = True
        placement = placed.placement
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
        for room in self.rooms():
            if room.device == placement.device:
                room.take_back(loan.placed.key)

    def report(self, kind: str, function: FunctionName, text: str) -> None:
        """Tell people."""
        self.commands.append(Report(kind, function, text))

    def rooms(self) -> list[packing.Room]:
        """The devices as they will be after what was decided so far."""
        if self._rooms is None:
            self._rooms = packing.rooms(self.state)
        return self._rooms

    def _take_back_for(self, function: FunctionState, spec: FunctionSpec) -> bool:
        """Have the loans leave whose memory is all that is missing; their nodes let go of them before it is placed."""
        slot = packing.choose(self.rooms(), spec, self._avoided(function), after_loans=True)
        if slot is None:
            return False
        function.blocked = AWAITS_LOAN
        in_the_way = [key for room in self.rooms() if room.device == slot.device for key in room.lent]
        for key in in_the_way:
            self.take_back(self.state.loans[key], f"'{spec.name}' needs its memory")
        return True

    def _changed_on(self, slot: packing.Slot, held: packing.Held) -> None:
        for room in self.rooms():
            if room.device == slot.device:
                room.held.append(held)

    def _no_room(self, function: FunctionState, spec: FunctionSpec, reason: str) -> None:
        """Reported once for each shape that found no room, not at each attempt; not while some is being freed."""
        if self._room_appears(spec):
            function.blocked = function.blocked or AWAITS_ROOM
            return
        shape = f"g{spec.generation} {spec.slice}"
        if function.blocked != shape:
            function.blocked = shape
            self.report("no_room", function.name, f"{packing.shortage(self.rooms(), spec)} ({reason})")

    def _room_appears(self, spec: FunctionSpec) -> bool:
        """Whether some node is letting go of a replica right now, or of a loan whose memory is what is missing."""
        state = self.state
        leaving = [placed.placement for placed in state.placed.values() if placed.leaving]
        departing = [placement for placement in state.departing.values() if not placement.loan]
        if any(serving_device(state, placement.node, placement.device) for placement in (*leaving, *departing)):
            return True
        return packing.will_fit(self.rooms(), spec)

    def _avoided(self, function: FunctionState) -> list[DeviceId]:
        return [device for device, until_us in function.avoid_until_us.items() if until_us > self.now_us]

    def _new_id(self, function: FunctionState, spec: FunctionSpec) -> ReplicaId:
        """Unique for ever by term and count within it; should terms start over, what exists is skipped."""
        taken = {placed.placement.replica for placed in function.placed.values()}
        taken |= {
            reported.status.replica
            for reported in self.state.reported.values()
            if reported.status.function == function.name
        }
        while True:
            self.state.replicas_named += 1
            number = self.state.replicas_named
            replica = ReplicaId(f"{spec.name}-g{spec.generation}-{self.epoch}-{number}")
            if replica not in taken:
                return replica
