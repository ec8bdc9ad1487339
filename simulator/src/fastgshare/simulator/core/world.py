"""A run, simulated: gateways, scheduler and devices on one agenda, until the last caller knows.

Pure and deterministic: the same run gives the same outcome. What happens inside is the services' own cores; this wires
them and plays the callers and the failures.
"""

from collections.abc import Callable
from functools import partial

from fastgshare.scheduler.core.events import ReplicaGone, ReplicaReported
from fastgshare.shared.ids import DeviceId, NodeId, ReplicaId, RequestId
from fastgshare.shared.messages import DoneNotice, Placement, ReplicaStatus
from fastgshare.simulator.core.control import Control
from fastgshare.simulator.core.device import Device
from fastgshare.simulator.core.door import Door
from fastgshare.simulator.core.node import Node
from fastgshare.simulator.core.outcome import Outcome, Spent
from fastgshare.simulator.core.replica import Replica
from fastgshare.simulator.core.run import Failure, FunctionPlan, Progress, Run
from fastgshare.simulator.core.scene import START_US, Scene
from fastgshare.simulator.core.tally import Call

SETTLING_US = 2_000_000
"""After the last deadline everything that is still open is given up by the gateways."""

Clock = Callable[[], float]
Status = tuple[NodeId, ReplicaId, ReplicaStatus | None]


def simulate(run: Run, progress: Progress | None = None, clock: Clock | None = None) -> Outcome:
    """What comes of a run. `clock` (seconds of processor time, say) is read at both ends, for `Outcome.spent`.

    Raises:
        ValueError: arrivals that do not ascend, a replica on a device for which its model has no table, a failure of
            what is not there, or a run that has no length.
    """
    started_s = clock() if clock is not None else 0.0
    world = World(run, progress)
    world.play()
    ended_s = clock() if clock is not None else 0.0
    return world.outcome(ended_s - started_s)


class World:
    """Everything there is, wired."""

    def __init__(self, run: Run, progress: Progress | None = None) -> None:
        _check(run)
        self.run = run
        self.scene = Scene(run)
        self.requests = 0
        self._agenda = self.scene.agenda
        self._progress = progress
        self._board: dict[ReplicaId, Replica] = {}
        self.control = Control(self.scene, self._written)
        self.doors = [Door(number, self.scene, self._board, self.control.tell) for number in range(run.gateways)]
        self.devices = {
            plan.device: Device(plan, self.scene, self._board, self._told, self._notified) for plan in run.devices
        }
        self.nodes: dict[NodeId, Node] = {}
        for device in self.devices.values():
            name = device.plan.node
            node = self.nodes.get(name)
            if node is None:
                node = self.nodes[name] = Node(name, self.scene, self.doors, self.control, partial(self._forget, name))
            node.devices[device.plan.device] = device

    def play(self) -> None:
        """From the first arrival to the last word on any."""
        self.control.open()
        for number, node in enumerate(self.nodes.values()):
            node.start(number, len(self.nodes), any(failure.node == node.name for failure in self.run.failures))
        for door in self.doors:
            door.open()
        self._agenda.at(START_US + self.run.hops.control_us, self.control.lead, None)
        for failure in self.run.failures:
            self._agenda.at(START_US + failure.at_us, self._fail, failure)
        for plan in self.run.functions:
            Caller(plan, self).expect_next()
        self._sample(None)
        self._agenda.run_until(self.scene.end_us)
        self.scene.fleet.close()
        patience_us = max((plan.patience_us for plan in self.run.functions), default=0)
        last_us = self.scene.end_us + patience_us + SETTLING_US
        while any(door.keeper.in_flight for door in self.doors) and self._agenda.now_us < last_us:
            self._agenda.run_until(min(self._agenda.now_us + self.run.sample_us, last_us))

    def outcome(self, wall_s: float) -> Outcome:
        """What came of it."""
        return Outcome(
            duration_us=self.run.duration_us,
            sample_us=self.run.sample_us,
            functions=[tally.outcome() for tally in self.scene.tallies.values()],
            devices=self.scene.fleet.devices(),
            samples=self.scene.fleet.samples,
            rectangles=self.scene.fleet.rectangles,
            decisions=self.scene.fleet.decisions,
            spent=Spent(wall_s=wall_s),
            requests=self.requests,
        )

    # Wires

    def _written(self, node: NodeId, replica: ReplicaId, placement: Placement | None) -> None:
        self.nodes[node].written(replica, placement)

    def _notified(self, about: tuple[int, DoneNotice]) -> None:
        door, notice = about
        self.doors[door].completed(notice)

    def _told(self, device: DeviceId, replica: ReplicaId, status: ReplicaStatus | None) -> None:
        """A node says this of a replica; everybody hears it a moment later."""
        self._say(self.devices[device].plan.node, replica, status)

    def _say(self, name: NodeId, replica: ReplicaId, status: ReplicaStatus | None) -> None:
        if status is not None:
            self.nodes[name].statuses[replica] = status
        else:
            self.nodes[name].statuses.pop(replica, None)
        about: Status = (name, replica, status)
        self._agenda.at(self._agenda.now_us + self.run.hops.control_us, self._hear, about)

    def _hear(self, about: Status) -> None:
        node, replica, status = about
        if status is not None:
            self.control.tell(ReplicaReported(status))
            for door in self.doors:
                door.status(status)
        else:
            self.control.tell(ReplicaGone(node, replica))
            for door in self.doors:
                door.removed(replica)

    def _forget(self, node: NodeId, replica: ReplicaId) -> None:
        self._say(node, replica, None)

    # Over time

    def _fail(self, failure: Failure) -> None:
        self.nodes[failure.node].fail(failure.device)
        if failure.until_us is not None:
            self._agenda.at(START_US + failure.until_us, self._recover, failure)

    def _recover(self, failure: Failure) -> None:
        self.nodes[failure.node].recover(failure.device)

    def _sample(self, _about: None) -> None:
        now_us = self._agenda.now_us
        self.scene.fleet.sample(now_us)
        if self._progress is not None:
            self._progress(now_us - START_US, self.requests)
        next_us = now_us + self.run.sample_us
        if next_us <= self.scene.end_us:
            self._agenda.at(next_us, self._sample, None)


class Caller:
    """Sends one function's requests, as its plan says."""

    def __init__(self, plan: FunctionPlan, world: World) -> None:
        self._world = world
        self._tally = world.scene.tallies[plan.spec.name]
        self._arrivals = iter(plan.arrivals)
        self._patience_us = plan.patience_us
        self._hop_us = world.run.hops.client_us
        self._agenda = world.scene.agenda
        self._end_us = world.scene.end_us
        self._sent_us = START_US
        self._sample_us = world.run.sample_us

    def expect_next(self) -> None:
        """The next request is on its way, if there is one before the end."""
        arrival_us = next(self._arrivals, None)
        if arrival_us is None:
            return
        sent_us = START_US + arrival_us
        if sent_us < self._sent_us:
            name = self._tally.spec.name
            raise ValueError(f"arrivals of {name} go back to {arrival_us} us: expected them to ascend from 0")
        self._sent_us = sent_us
        if sent_us < self._end_us:
            self._agenda.at(sent_us + self._hop_us, self._arrive, sent_us)

    def _arrive(self, sent_us: int) -> None:
        world, tally = self._world, self._tally
        world.requests = number = world.requests + 1
        doors = world.doors
        door = world.scene.chance.below(len(doors)) if len(doors) > 1 else 0
        sample = (sent_us - START_US) // self._sample_us
        tally.arrived[sample] += 1
        deadline_us = sent_us + self._patience_us
        now_us = self._agenda.now_us
        doors[door].take(Call(RequestId(str(number)), tally, door, sample, sent_us, now_us, deadline_us))
        self.expect_next()


def _check(run: Run) -> None:
    if run.duration_us < 1 or run.sample_us < 1 or run.gateways < 1:
        lengths = f"duration_us {run.duration_us}, sample_us {run.sample_us}, gateways {run.gateways}"
        raise ValueError(f"{lengths}: expected at least 1 each")
    names = [plan.spec.name for plan in run.functions]
    if len(set(names)) < len(names):
        raise ValueError(f"functions {sorted(names)}: expected each name once")
    homes = {plan.device: plan.node for plan in run.devices}
    if len(homes) < len(run.devices):
        raise ValueError("two devices have the same name, expected each once")
    for failure in run.failures:
        is_there = (
            failure.node in homes.values() if failure.device is None else homes.get(failure.device) == failure.node
        )
        if not is_there:
            raise ValueError(f"failure of {failure.node} {failure.device or ''}: there is no such node or device")
