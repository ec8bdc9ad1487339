"""The order of calls and whom a process's end fails, whatever happens in between."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from fastgshare.node_manager.core.handler_calls import MAX_SENDS, HandlerCall, HandlerCalls, Running, Stage
from fastgshare.shared.errors import ErrorBody, ErrorCode

NOBODY = Running(0, 0)


def admitted(calls: HandlerCalls, stage: Stage, deadline_us: int, now_us: int = 0) -> HandlerCall:
    call = calls.admit(stage, (), deadline_us, now_us)
    assert isinstance(call, HandlerCall)
    return call


def taken(calls: HandlerCalls) -> list[HandlerCall]:
    found = []
    while (call := calls.take()) is not None:
        found.append(call)
    return found


def test_finished_work_first_then_the_earliest_deadline_each_stage_with_room_of_its_own() -> None:
    calls = HandlerCalls(outstanding=2, waiting=10, hang_us=10)
    late, early, third = (admitted(calls, Stage.PREPROCESS, deadline) for deadline in (300, 200, 400))
    post = admitted(calls, Stage.POSTPROCESS, 900)
    assert taken(calls) == [post, early, late]
    another = admitted(calls, Stage.POSTPROCESS, 950)
    assert taken(calls) == [another]
    assert calls.finished(early.id) is early
    assert taken(calls) == [third]


def test_only_the_call_that_ran_fails_with_its_process_and_the_others_are_tried_once_more() -> None:
    calls = HandlerCalls(outstanding=3, waiting=10, hang_us=10)
    culprit, neighbour, caller_gone = (admitted(calls, Stage.PREPROCESS, 100 + n) for n in range(3))
    assert taken(calls) == [culprit, neighbour, caller_gone]
    calls.give_up(caller_gone)
    ((failed, error),) = calls.lost("SIGKILL", Running(culprit.id, 5))
    assert failed is culprit
    assert error == ErrorBody(ErrorCode.HANDLER_FAILED, "the handler's process ended (SIGKILL) while it ran preprocess")
    assert taken(calls) == [neighbour]
    ((failed, error),) = calls.lost("SIGKILL", NOBODY)
    assert failed is neighbour
    assert error.message.endswith("before preprocess began, for the second time")
    assert calls.look(50, NOBODY).wake_at_us is None


def test_a_call_hangs_once_its_deadline_has_passed_and_it_has_run_long_enough() -> None:
    calls = HandlerCalls(outstanding=1, waiting=10, hang_us=50)
    call = admitted(calls, Stage.PREPROCESS, deadline_us=120)
    calls.take()
    running = Running(call.id, since_us=100)
    before = calls.look(119, running)
    assert (before.expired, before.hung, before.wake_at_us) == ((), None, 120)
    late = calls.look(120, running)
    assert [expired for expired, _ in late.expired] == [call]
    assert (late.hung, late.wake_at_us) == (None, 150)
    assert calls.look(150, running).hung is call
    assert calls.finished(call.id) is None  # answered already


def test_a_long_deadline_is_no_hang() -> None:
    calls = HandlerCalls(outstanding=1, waiting=10, hang_us=50)
    call = admitted(calls, Stage.PREPROCESS, deadline_us=1000)
    calls.take()
    ruling = calls.look(999, Running(call.id, since_us=0))
    assert (ruling.hung, ruling.wake_at_us) == (None, 1000)


def test_a_stream_that_began_gives_its_place_back_and_streams_have_a_bound_of_their_own() -> None:
    calls = HandlerCalls(outstanding=1, waiting=10, hang_us=50, streams=2)
    first, second, third = (admitted(calls, Stage.POSTPROCESS, 100 + n) for n in range(3))
    assert taken(calls) == [first]
    assert calls.began(first.id) is first
    assert calls.began(first.id) is first
    assert taken(calls) == [second]
    assert calls.began(second.id) is second
    assert taken(calls) == []
    assert calls.finished(first.id) is first
    assert taken(calls) == [third]
    calls.lost("exit 1", NOBODY)
    admitted(calls, Stage.POSTPROCESS, 200)
    assert taken(calls) == [third]  # the lost streams hold nothing


def test_a_full_queue_refuses_that_stage_only() -> None:
    calls = HandlerCalls(outstanding=1, waiting=1, hang_us=50)
    admitted(calls, Stage.PREPROCESS, 100)
    refused = calls.admit(Stage.PREPROCESS, (), 100, 0)
    assert isinstance(refused, ErrorBody)
    assert (refused.code, refused.retry_after_ms) == (ErrorCode.OVERLOADED, 100)
    admitted(calls, Stage.POSTPROCESS, 100)


class World:
    """A worker and its processes, without either: keeps who was settled, and how often."""

    def __init__(self, outstanding: int, waiting: int) -> None:
        self.calls = HandlerCalls(outstanding, waiting, hang_us=20)
        self.limits = outstanding, waiting
        self.now_us = 0
        self.alive: dict[int, HandlerCall] = {}
        self.with_process: list[HandlerCall] = []
        self.settled: Counter[int] = Counter()
        self.sends: Counter[int] = Counter()

    def admit(self, stage: Stage, patience_us: int) -> None:
        call = self.calls.admit(stage, (), self.now_us + patience_us, self.now_us)
        if isinstance(call, HandlerCall):
            self.alive[call.id] = call

    def hand_over(self) -> None:
        for call in taken(self.calls):
            assert not call.settled
            self.with_process.append(call)
            self.sends[call.id] += 1
        for stage in Stage:
            assert sum(call.stage is stage for call in self.with_process) <= self.limits[0]

    def finish(self, index: int) -> None:
        if self.with_process:
            call = self.with_process.pop(index % len(self.with_process))
            if self.calls.finished(call.id) is not None:
                self.settle(call)

    def die(self, index: int) -> None:
        ran = self.with_process[index % len(self.with_process)].id if self.with_process and index else 0
        for call, _ in self.calls.lost("SIGKILL", Running(ran, self.now_us)):
            self.settle(call)
        self.with_process.clear()

    def pass_time(self, by_us: int) -> None:
        self.now_us += by_us
        ran = self.with_process[0].id if self.with_process else 0
        for call, _ in self.calls.look(self.now_us, Running(ran, self.now_us)).expired:
            self.settle(call)
        assert all(call.deadline_us > self.now_us for call in self.alive.values())

    def give_up(self, index: int) -> None:
        if self.alive:
            call = list(self.alive.values())[index % len(self.alive)]
            self.calls.give_up(call)
            self.settle(call)

    def settle(self, call: HandlerCall) -> None:
        self.settled[call.id] += 1
        del self.alive[call.id]


INDEX = st.integers(0, 20)
STEPS = st.one_of(
    st.tuples(st.just("admit"), st.sampled_from(Stage), st.integers(1, 60)),
    st.tuples(st.just("hand_over")),
    st.tuples(st.just("finish"), INDEX),
    st.tuples(st.just("die"), INDEX),
    st.tuples(st.just("pass_time"), st.integers(0, 30)),
    st.tuples(st.just("give_up"), INDEX),
)


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 5), st.lists(STEPS, max_size=80))
def test_every_call_is_settled_exactly_once(
    outstanding: int, waiting: int, steps: list[tuple[str, *tuple[object, ...]]]
) -> None:
    world = World(outstanding, waiting)
    for step, *arguments in steps:
        getattr(world, step)(*arguments)
    for call in world.calls.close():
        world.settle(call)
    assert world.alive == {}
    assert set(world.settled.values()) <= {1}
    assert set(world.sends.values()) <= set(range(1, MAX_SENDS + 1))
    assert all(call.tensors == () for call in world.with_process)


@settings(deadline=None)
@given(st.lists(STEPS, max_size=60), st.integers(1, 3))
def test_the_room_of_settled_calls_is_free_again(steps: list[tuple[str, *tuple[object, ...]]], waiting: int) -> None:
    world = World(1, waiting)
    for step, *arguments in steps:
        getattr(world, step)(*arguments)
    world.calls.close()
    for stage in Stage:
        for _ in range(waiting):
            admitted(world.calls, stage, world.now_us + 1, world.now_us)
        assert isinstance(world.calls.admit(stage, (), world.now_us + 1, world.now_us), ErrorBody)
