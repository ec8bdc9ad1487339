"""What holds whatever happens: deployments, updates, broken ones, nodes that go and come, terms that end."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fastgshare.node_manager.core.speed import SpeedCurve
from fastgshare.scheduler.core.books import Standing
from fastgshare.scheduler.core.commands import Decision, RemoveReplica, Report
from fastgshare.scheduler.core.events import Event, LeadershipLost, ProfileKnown
from fastgshare.scheduler.core.packing import books, choose, rooms
from fastgshare.scheduler.core.scheduler import Scheduler
from fastgshare.scheduler.core.settings import Settings
from fastgshare.scheduler.core.state import State
from fastgshare.shared.ids import NodeId
from fastgshare.shared.messages import Autoscale, FunctionSpec, Placement, ReplicaState
from tests.scheduler.core.tables import table
from tests.scheduler.core.world import S, World, spec

Name = TypeVar("Name")
Place = TypeVar("Place")

NAMES = st.sampled_from(["f", "g", "h"])
NODES = st.sampled_from(["a", "b"])
LONG_S = 90
IMPATIENT = Settings(
    transient_us=5 * S, unreported_us=15 * S, patience_us=40 * S, consolidate_us=5 * S, rest_us=10 * S, reviews=2
)


class Fleet(RuleBasedStateMachine):
    """Three functions on two nodes of four chunks and 1000 MiB."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(settings=IMPATIENT)
        self.specs: dict[str, FunctionSpec] = {}
        self.generation = 0
        self.epoch = 10

    @initialize()
    def start(self) -> None:
        for name in ("a", "b"):
            self.world.add_node(name)
        self.world.lead(self.epoch)

    @rule(
        name=NAMES,
        replicas=st.integers(0, 3),
        sm=st.sampled_from([25, 50, 100]),
        quota=st.sampled_from([0.1, 0.3, 0.5, 1.0]),
        memory_mib=st.sampled_from([50, 200, 450]),
        broken=st.sampled_from([None, None, None, False, True]),
    )
    def deploy(self, name: str, replicas: int, sm: int, quota: float, memory_mib: int, broken: bool | None) -> None:
        self.generation += 1
        wanted = spec(name, self.generation, replicas, sm=sm, quota=quota, memory_mib=memory_mib)
        if broken is not None:
            self.world.broken[name, self.generation] = broken
        self.specs[name] = wanted
        self.world.define(wanted)

    @rule(
        name=NAMES,
        low=st.integers(0, 2),
        more=st.integers(1, 2),
        broken=st.booleans(),
        policy=st.sampled_from(["", "objective", "objective", "paper", "exclusive"]),
    )
    def deploy_scaling(self, name: str, low: int, more: int, broken: bool, policy: str) -> None:
        self.generation += 1
        bounds = Autoscale(min=low, max=low + more, policy=policy)
        if broken:
            self.world.broken[name, self.generation] = False
        self.specs[name] = spec(name, self.generation, autoscale=bounds, sm=25, quota=0.3)
        self.world.define(self.specs[name])

    @rule(name=NAMES, floor_us=st.sampled_from([5_000, 60_000, 2_000_000]))
    def profile(self, name: str, floor_us: int) -> None:
        """A table, by which an objective of a second is easy, possible, or out of reach."""
        speed = SpeedCurve(floor_us=floor_us, work_us=floor_us)
        self.world.tell(ProfileKnown(table(speed, f"model-of-{name}", kind="cpu", sms=(25, 100))))

    @rule(name=NAMES, arrived=st.sampled_from([0, 5, 500]), held=st.sampled_from([0, 0, 50]))
    def load(self, name: str, arrived: int, held: int) -> None:
        self.world.load(name, arrived, held=held, answered=arrived, execute_us=arrived * 10_000)

    @precondition(lambda self: self.specs)
    @rule(name=NAMES, replicas=st.integers(0, 4))
    def scale(self, name: str, replicas: int) -> None:
        if name in self.specs and self.specs[name].autoscale is None:
            self.specs[name] = msgspec.structs.replace(self.specs[name], replicas=replicas)
            self.world.define(self.specs[name])

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        if self.specs.pop(name, None) is not None:
            self.world.delete(name)

    @rule(loan=st.sampled_from(["l1", "l2"]), name=NAMES, sm=st.sampled_from([25, 100]), asked=st.booleans())
    def wish(self, loan: str, name: str, sm: int, asked: bool) -> None:
        self.world.wish(loan, name, sm=sm, asked=asked)

    @rule(name=NODES)
    def node_dies(self, name: str) -> None:
        self.world.nodes[NodeId(name)].up = False

    @rule(name=NODES)
    def node_returns(self, name: str) -> None:
        if not self.world.nodes[NodeId(name)].up:
            self.world.restart_node(name)

    @rule(ticks=st.integers(1, 12))
    def time_passes(self, ticks: int) -> None:
        self.world.tick(ticks)

    @rule()
    def the_term_ends(self) -> None:
        self.world.tell(LeadershipLost())
        self.epoch += 1
        self.world.hear()  # a new leader reads the buckets anew
        self.world.lead(self.epoch)

    @rule(late=st.booleans())
    def echoes_are_late(self, late: bool) -> None:
        """From now on, or no longer: what was commanded is heard of afterwards."""
        self.world.late = False
        self.world.hear()
        self.world.late = late

    @rule(count=st.integers(1, 3))
    def echoes_come(self, count: int) -> None:
        self.world.hear(count)

    @rule()
    def it_settles(self) -> None:
        """With nothing but time: all that can be there is there, and no command repeats."""
        self.world.late = False
        self.world.run_for(LONG_S)
        assert self.world.lent() == [], "nobody asked for it"
        placed = [placement.function for placement in self.world.placements.values()]
        moving = any(self.world.broken.get((f.name, f.generation)) for f in (*placed, *self.specs.values()))
        if not moving:
            assert self.world.run_for(15) == []
        for name, wanted in self.specs.items():
            self._converged(name, wanted)

    def _converged(self, name: str, wanted: FunctionSpec) -> None:
        placed = self.world.of(name)
        statuses = [self._status(placement) for placement in placed]
        if (name, wanted.generation) not in self.world.broken:
            good = [p for p in placed if p.function.generation == wanted.generation]
            least, most = bounds(wanted)
            assert len(good) <= most
            if len(good) < least:
                assert choose(rooms(self.world.scheduler.state), wanted) is None
            elif (good or most == 0) and all(self.world.nodes[p.node].up for p in good):
                assert len(placed) == len(good)
                assert all(state is ReplicaState.READY for state in statuses)

    def _status(self, placement: Placement) -> ReplicaState | None:
        held = self.world.nodes[placement.node].held.get(placement.replica)
        return held.state if held else None

    @invariant()
    def memory_is_never_over_committed(self) -> None:
        used: dict[str, int] = defaultdict(int)
        for placement in self._occupying():
            used[placement.device] += placement.function.slice.gpu_mem_mib
        assert all(memory_mib <= 1000 for memory_mib in used.values())

    @invariant()
    def time_is_exceeded_by_updates_alone(self) -> None:
        """Counting of each function only its heaviest generation on each chunk, time suffices."""
        loads: dict[tuple[str, int], dict[str, dict[int, float]]] = defaultdict(
            lambda: defaultdict(lambda: defaultdict(float))
        )
        for placement in self._occupying():
            function = placement.function
            if placement.loan:
                continue
            for chunk in placement.chunks:
                by_generation = loads[placement.device, chunk][function.name]
                by_generation[function.generation] += function.slice.quota_request
        for functions in loads.values():
            assert sum(max(generations.values()) for generations in functions.values()) <= 1 + 1e-6

    @invariant()
    def placements_are_possible(self) -> None:
        for placement in self.world.placements.values():
            device = self.world.nodes[placement.node].devices[0]
            assert placement.device == device.device
            assert len(set(placement.chunks)) == len(placement.chunks) >= 1
            assert set(placement.chunks) <= set(range(device.chunks))

    @invariant()
    def the_books_are_what_a_rebuild_gives(self) -> None:
        assert_books_hold(self.world.scheduler.state)

    @invariant()
    def decisions_stand_in_the_bucket(self) -> None:
        state = self.world.scheduler.state
        if not self.world.echoes:
            assert {*state.placed, *state.loans} == set(self.world.placements)
        assert all(placed.placement.loan == "" for placed in state.placed.values())

    def _occupying(self) -> list[Placement]:
        return [p for p in self.world.placements.values() if not self._failed(p)]

    def _failed(self, placement: Placement) -> bool:
        node = self.world.nodes[placement.node]
        held = node.held.get(placement.replica)
        if held is None:
            return False
        if held.state is ReplicaState.LOADING and node.revived.get(placement.replica):
            return True
        return held.state is ReplicaState.FAILED and not held.transient

    def teardown(self) -> None:
        """The journal, stored, read back and fed again, gives the same decisions; and ready ones were kept."""
        replay(self.world)
        last_good_ones_stay(self.world)


def assert_books_hold(state: State) -> None:
    """The books kept up to date entry by entry are those built from nothing."""
    kept, rebuilt = books(state), rooms(state)
    assert [kept.rooms[device] for device in sorted(kept.rooms)] == rebuilt
    for room in rebuilt:
        known = kept.rooms[room.device]
        assert (known.loads(), known.free_mib, known.tops()) == (room.loads(), room.free_mib, room.tops())
    assert [room.device for room in kept.fullest_first()] == [
        room.device for room in sorted(rebuilt, key=lambda room: (*room.fill, room.device))
    ]
    held = [entry for entry in kept.entries.values() if entry.standing is Standing.HELD]
    assert flat(kept.models) == Counter((entry.held.digest, entry.device) for entry in held)
    assert flat(kept.functions) == Counter(
        (entry.held.function, (entry.device, entry.held.generation)) for entry in held
    )
    assert state.kinds == dict(
        Counter(view.device.kind for node in state.nodes.values() for view in node.devices.values())
    )
    assert {*state.leaving} == {key for key, placed in state.placed.items() if placed.leaving}
    assert {*state.understudies} == {key for key, placed in state.placed.items() if placed.is_understudy}


def flat(index: Mapping[Name, Mapping[Place, int]]) -> dict[tuple[Name, Place], int]:
    """What is counted where, in one table."""
    return {(name, place): count for name, places in index.items() for place, count in places.items()}


def bounds(wanted: FunctionSpec) -> tuple[int, int]:
    """How many replicas there may be."""
    if wanted.autoscale is not None:
        return wanted.autoscale.min, wanted.autoscale.max
    return wanted.replicas or 0, wanted.replicas or 0


def replay(world: World) -> None:
    """The same events at the same times through another core: the same decisions."""
    again = Scheduler(world.settings)
    for now_us, event, decision in world.journal:
        stored = msgspec.msgpack.encode(event)
        repeated = again.step(now_us, msgspec.msgpack.decode(stored, type=Event))
        assert repeated == decision
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(decision), type=Decision) == decision


def last_good_ones_stay(world: World) -> None:
    """No removal for an update takes ready replicas below the wanted number."""
    watch = GoodWatch()
    for _, event, decision in world.journal:
        watch.see(event)
        for command in decision.commands:
            watch.check(command)


class GoodWatch:
    """Follows a journal and objects to a removal that leaves too few ready replicas."""

    def __init__(self) -> None:
        self.wanted: dict[str, int] = {}
        self.ready: dict[str, str] = {}
        self.silent: set[str] = set()

    def see(self, event: Event) -> None:
        """Take in a fact."""
        match msgspec.to_builtins(event):
            case {"type": "FunctionDefined", "spec": {"name": name, "replicas": replicas}}:
                self.wanted[name] = replicas or 0
            case {"type": "FunctionRemoved", "function": name}:
                self.wanted[name] = 0
            case {"type": "ReplicaReported", "status": {"loan": loan}} if loan:
                return  # it answers no requests
            case {"type": "ReplicaReported", "status": {"replica": replica, "function": name, "state": state}}:
                self.ready.pop(replica, None)
                if state == "ready":
                    self.ready[replica] = name
            case {"type": "NodeSeen", "node": node}:
                self.silent.discard(node)
            case {"type": "ReplicaGone" | "PlacementGone", "replica": replica}:
                self.ready.pop(replica, None)

    def check(self, command: object) -> None:
        """Object to a removal that an update cannot justify."""
        if isinstance(command, Report) and command.kind == "node_silent":
            self.silent.add(command.text.split()[0])
        if not isinstance(command, RemoveReplica) or command.node in self.silent:
            return
        if "lost with" in command.reason or command.replica not in self.ready:
            return
        del self.ready[command.replica]
        left = sum(name == command.function for name in self.ready.values())
        assert left >= self.wanted[command.function], command


Fleet.TestCase.settings = hypothesis_settings(max_examples=25, stateful_step_count=25, deadline=None)
TestFleet = Fleet.TestCase


def test_a_long_life_replays_to_the_same_decisions() -> None:
    """One fixed story, so that a change of decisions between versions is seen here first."""
    world = World()
    world.add_node("a")
    world.lead()
    world.define(spec(replicas=2))
    world.run_for(3)
    world.add_node("b")
    world.define(spec(replicas=2, generation=2))
    world.run_for(3)
    world.nodes[NodeId("a")].up = False
    world.run_for(10)
    world.restart_node("a")
    world.run_for(3)
    world.delete("f")
    world.now_us += S
    world.tick()
    replay(world)
