"""Wishes change nothing for functions: two worlds live the same life, and one of them lends as well."""

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fastgshare.scheduler.core.commands import AnswerWish, Command, PlaceReplica, RemoveReplica
from fastgshare.scheduler.core.events import LeadershipLost
from fastgshare.shared.ids import NodeId
from fastgshare.shared.messages import Autoscale
from tests.scheduler.core.test_properties import IMPATIENT, replay
from tests.scheduler.core.world import World, spec

NAMES = st.sampled_from(["f", "g", "h"])
NODES = st.sampled_from(["a", "b"])
PLENTY_MIB = 100_000


def is_of_a_loan(command: Command) -> bool:
    """Whether a command is about a loan alone."""
    match command:
        case AnswerWish():
            return True
        case PlaceReplica(placement, _):
            return bool(placement.loan)
        case RemoveReplica():
            return bool(command.loan)
    return False


class Twins(RuleBasedStateMachine):
    """Three functions on two nodes, twice: `lending` hears wishes, `other` never does. Memory suffices for all."""

    def __init__(self) -> None:
        super().__init__()
        self.lending, self.other = World(settings=IMPATIENT), World(settings=IMPATIENT)
        self.generation = 0
        self.epoch = 10

    @property
    def both(self) -> tuple[World, World]:
        """The twins."""
        return self.lending, self.other

    @initialize()
    def start(self) -> None:
        for world in self.both:
            for name in ("a", "b"):
                world.add_node(name, memory_mib=PLENTY_MIB)
            world.lead(self.epoch)

    @rule(
        loan=st.sampled_from(["l1", "l2", "l3"]),
        name=NAMES,
        sm=st.sampled_from([10, 50, 100]),
        asked=st.booleans(),
        over=st.sampled_from([False, False, False, True]),
    )
    def wish(self, loan: str, name: str, sm: int, asked: bool, over: bool) -> None:
        self.lending.wish(loan, name, sm=sm, asked=asked, over=over)

    @rule(
        name=NAMES,
        replicas=st.integers(0, 3),
        sm=st.sampled_from([25, 50, 100]),
        quota=st.sampled_from([0.1, 0.5, 1.0]),
        model=st.sampled_from(["", "shared"]),
        broken=st.sampled_from([None, None, None, False, True]),
    )
    def deploy(self, name: str, replicas: int, sm: int, quota: float, model: str, broken: bool | None) -> None:
        self.generation += 1
        for world in self.both:
            if broken is not None:
                world.broken[name, self.generation] = broken
            world.define(spec(name, self.generation, replicas, sm=sm, quota=quota, model=model))

    @rule(name=NAMES, low=st.integers(0, 2), more=st.integers(1, 2))
    def deploy_scaling(self, name: str, low: int, more: int) -> None:
        self.generation += 1
        for world in self.both:
            world.define(spec(name, self.generation, autoscale=Autoscale(min=low, max=low + more), sm=25, quota=0.3))

    @rule(name=NAMES, arrived=st.sampled_from([0, 5, 500]), held=st.sampled_from([0, 0, 50]))
    def load(self, name: str, arrived: int, held: int) -> None:
        for world in self.both:
            world.load(name, arrived, held=held, answered=arrived, execute_us=arrived * 10_000)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        for world in self.both:
            world.delete(name)

    @rule(name=NODES)
    def node_dies(self, name: str) -> None:
        for world in self.both:
            world.nodes[NodeId(name)].up = False

    @rule(name=NODES)
    def node_returns(self, name: str) -> None:
        for world in self.both:
            if not world.nodes[NodeId(name)].up:
                world.restart_node(name)

    @rule(ticks=st.integers(1, 12))
    def time_passes(self, ticks: int) -> None:
        for world in self.both:
            world.tick(ticks)

    @rule()
    def the_term_ends(self) -> None:
        self.epoch += 1
        for world in self.both:
            world.tell(LeadershipLost())
            world.lead(self.epoch)

    @invariant()
    def decisions_about_functions_are_the_same(self) -> None:
        of_functions = [command for command in self.lending.commands if not is_of_a_loan(command)]
        assert of_functions == self.other.commands

    @invariant()
    def a_device_has_one_loan_that_works(self) -> None:
        state = self.lending.scheduler.state
        for node in self.lending.nodes.values():
            standing = [p for p in self.lending.lent() if p.node == node.node]
            working = [p for p in standing if p.replica in node.held and node.held[p.replica].state != "failed"]
            assert len(working) <= 1
        assert not any(placed.placement.loan for placed in state.placed.values())

    def teardown(self) -> None:
        replay(self.lending)


Twins.TestCase.settings = hypothesis_settings(max_examples=25, stateful_step_count=25, deadline=None)
TestTwins = Twins.TestCase
