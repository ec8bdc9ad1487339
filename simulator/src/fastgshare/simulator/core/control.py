"""The scheduler in virtual time: its own core leads, what it decides is written, and the bucket echoes it.

`Engine` of `services/scheduler/.../app.py` in few lines: events are stepped as they come, ticks when the core asks for
them. A command that is not known here stops the simulation: leaving one out would make its outcome a lie.
"""

from collections.abc import Callable

from fastgshare.scheduler.core.commands import Command, MoveReplica, PlaceReplica, RemoveReplica, Report, ResizeReplica
from fastgshare.scheduler.core.events import (
    Event,
    FunctionDefined,
    LeadershipWon,
    PlacementGone,
    PlacementKnown,
    ProfileKnown,
    Ticked,
)
from fastgshare.scheduler.core.scheduler import Scheduler
from fastgshare.shared import subjects
from fastgshare.shared.ids import FunctionName, NodeId, ReplicaId
from fastgshare.shared.messages import Placement
from fastgshare.simulator.core.scene import Scene

EPOCH = 1
INFEASIBLE = "infeasible"
"""Kinds of reports that contain this tell of an objective that no slice can meet."""

Written = Callable[[NodeId, ReplicaId, Placement | None], None]


class Control:
    """`written` is told of every change of a placement, as it stands in the bucket."""

    def __init__(self, scene: Scene, written: Written) -> None:
        self.core = Scheduler(scene.run.settings)
        self.bucket: dict[str, Placement] = {}
        self._scene = scene
        self._agenda = scene.agenda
        self._written = written
        self._wake_at_us: int | None = None
        self._tick_at_us: int | None = None

    def open(self) -> None:
        """Tell it of tables and functions."""
        for profile in self._scene.run.tables.values():
            self.tell(ProfileKnown(profile))
        for plan in self._scene.run.functions:
            self.tell(FunctionDefined(plan.spec))

    def lead(self, _about: None) -> None:
        """It knows everything there is to know, and leads from now on."""
        self.tell(LeadershipWon(EPOCH))

    def standing_on(self, node: NodeId) -> list[Placement]:
        """What is to be on a node."""
        return [placement for placement in self.bucket.values() if placement.node == node]

    def tell(self, event: Event) -> None:
        """An event arrives; what it decides is carried out."""
        decision = self.core.step(self._agenda.now_us, event)
        for command in decision.commands:
            self._carry_out(command)
        wake_at_us = self._wake_at_us = decision.wake_at_us
        if wake_at_us is not None and (self._tick_at_us is None or wake_at_us < self._tick_at_us):
            self._tick_at_us = max(wake_at_us, self._agenda.now_us)
            self._agenda.at(self._tick_at_us, self._tick, self._tick_at_us)

    def _tick(self, tick_at_us: int) -> None:
        if tick_at_us != self._tick_at_us:
            return  # an earlier one took its place
        self._tick_at_us = None
        if self._wake_at_us is not None and self._wake_at_us > tick_at_us:
            self._tick_at_us = self._wake_at_us
            self._agenda.at(self._wake_at_us, self._tick, self._wake_at_us)
            return
        self.tell(Ticked())

    def _carry_out(self, command: Command) -> None:
        arrives_us = self._agenda.now_us + self._scene.run.hops.control_us
        match command:
            case PlaceReplica(placement, reason):
                self._note("replica_placed", placement.function.name, reason)
                self._agenda.at(arrives_us, self._write, placement)
            case ResizeReplica(placement, reason):
                self._note("replica_resized", placement.function.name, reason)
                self._agenda.at(arrives_us, self._write, placement)
            case MoveReplica(placement, reason):
                self._note("replica_moved", placement.function.name, reason)
                self._agenda.at(arrives_us, self._write, placement)
            case RemoveReplica(node, replica, function, _, reason):
                self._note("replica_removed", function, reason)
                self._agenda.at(arrives_us, self._delete, (node, replica))
            case Report(kind, function, text):
                self._note(kind, function, text)
                if INFEASIBLE in kind and function in self._scene.tallies:
                    self._scene.tallies[function].infeasible = text
            case _:
                raise TypeError(f"the simulator cannot carry out {command!r}")

    def _note(self, kind: str, function: FunctionName, text: str) -> None:
        if self._agenda.now_us < self._scene.end_us:
            self._scene.fleet.decided(kind, function, text, self._agenda.now_us)

    def _write(self, placement: Placement) -> None:
        self.bucket[subjects.fleet_key(placement.node, placement.replica)] = placement
        self._written(placement.node, placement.replica, placement)
        self.tell(PlacementKnown(placement))

    def _delete(self, about: tuple[NodeId, ReplicaId]) -> None:
        node, replica = about
        if self.bucket.pop(subjects.fleet_key(node, replica), None) is not None:
            self._written(node, replica, None)
            self.tell(PlacementGone(node, replica))
