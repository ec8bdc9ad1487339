"""Desired against actual on one device."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fastgshare.node_manager.core.reconcile import (
    Command,
    DeviceCore,
    DrainReplica,
    ForgetStatus,
    LoadReplica,
    PublishStatus,
    RefusePlacement,
    ReplicaReport,
    ResizeReplica,
)
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, HostId, NodeId, ReplicaId
from fastgshare.shared.messages import FunctionSpec, ModelRef, Placement, ReplicaState, Slice

T0 = 1_000
SPEC = FunctionSpec(name=FunctionName("f"), model=ModelRef(digest=Digest("0" * 64), size_bytes=1))
A, B = ReplicaId("a"), ReplicaId("b")
READY_A = ReplicaReport(A, ReplicaState.READY)


def placement(
    replica: ReplicaId, epoch: int = 5, chunks: tuple[int, ...] = (0,), function: FunctionSpec = SPEC
) -> Placement:
    return Placement(
        replica=replica, node=NodeId("n"), device=DeviceId("n-cpu0"), chunks=chunks, epoch=epoch, function=function
    )


def holding(quota: float, percent: int = 50, name: str = "f", generation: int = 1) -> FunctionSpec:
    held = Slice(sm_partition=percent, quota_request=quota, quota_limit=1.0)
    return replace(SPEC, name=FunctionName(name), generation=generation, slice=held)


def core(ready: bool = True) -> DeviceCore:
    made = DeviceCore(host=HostId("h"))
    if ready:
        made.worker_started("life-1", "cpu", 2, T0)
    return made


def loads(commands: list[Command]) -> list[ReplicaId]:
    return [c.placement.replica for c in commands if isinstance(c, LoadReplica)]


def states(commands: list[Command]) -> dict[ReplicaId, ReplicaState]:
    return {c.status.replica: c.status.state for c in commands if isinstance(c, PublishStatus)}


def test_a_placement_is_loaded_and_reported() -> None:
    commands = core().placed(placement(A), T0)
    assert loads(commands) == [A]
    assert states(commands) == {A: ReplicaState.LOADING}


def test_placements_wait_for_the_worker() -> None:
    waiting = core(ready=False)
    assert loads(waiting.placed(placement(A), T0)) == []
    assert loads(waiting.worker_started("life-1", "cpu", 2, T0)) == [A]


def test_a_ready_replica_carries_its_workers_incarnation() -> None:
    made = core()
    made.placed(placement(A), T0)
    (command,) = made.reported(ReplicaReport(A, ReplicaState.READY, max_batch=4, load_ms=7.0), T0)
    assert isinstance(command, PublishStatus)
    assert (command.status.state, command.status.incarnation) == (ReplicaState.READY, "life-1")
    assert (command.status.max_batch, command.status.load_ms) == (4, 7.0)


def test_the_same_placement_again_changes_nothing() -> None:
    made = core()
    made.placed(placement(A), T0)
    assert made.placed(placement(A), T0) == []


def test_a_removed_placement_is_drained_then_forgotten() -> None:
    made = core()
    made.placed(placement(A), T0)
    assert made.unplaced(A) == [DrainReplica(A)]
    assert made.drained(A, T0) == [ForgetStatus(A)]


def test_a_replica_wanted_again_while_it_drains_is_loaded_again() -> None:
    made = core()
    made.placed(placement(A), T0)
    made.unplaced(A)
    assert made.placed(placement(A), T0) == []
    assert loads(made.drained(A, T0)) == [A]


def test_a_stale_leaders_change_of_a_replica_is_refused() -> None:
    made = core()
    made.placed(placement(A, epoch=5), T0)
    (command,) = made.placed(placement(A, epoch=4, chunks=(1,)), T0)
    assert isinstance(command, RefusePlacement)
    assert "epoch 4 is older than 5" in command.reason
    assert made.desired[A].chunks == (0,)


def test_a_stale_leaders_change_is_refused_where_a_newer_one_waits_for_room() -> None:
    made = core()
    made.placed(placement(A, epoch=3, function=holding(0.5)), T0)
    made.placed(placement(B, epoch=3, function=holding(0.5, name="g")), T0)
    made.placed(placement(A, epoch=5, function=holding(0.7)), T0)  # refused: no time is left
    (command,) = made.placed(placement(A, epoch=4, function=holding(0.1)), T0)
    assert isinstance(command, RefusePlacement)


@given(st.permutations([(A, 4), (B, 5), (ReplicaId("c"), 3)]), st.booleans())
def test_placements_of_mixed_epochs_all_come_up_in_whatever_order_they_are_listed(
    listed: list[tuple[ReplicaId, int]], ready: bool
) -> None:
    made = core(ready)
    commands: list[Command] = []
    for replica, epoch in listed:
        commands += made.placed(placement(replica, epoch=epoch, function=holding(0.3)), T0)
    commands += made.worker_started("life-2", "cpu", 2, T0) if not ready else []
    assert sorted(loads(commands)) == sorted(replica for replica, _ in listed)


def test_a_deposed_leaders_late_replica_gets_nothing_that_is_promised() -> None:
    made = core()
    made.placed(placement(A, epoch=5, function=holding(0.8)), T0)
    commands = made.placed(placement(B, epoch=4, function=holding(0.3, name="g")), T0)
    assert states(commands) == {B: ReplicaState.FAILED}
    assert made.actual[B].transient
    assert made.actual[A].state is ReplicaState.LOADING


def test_what_failed_for_a_reason_that_passes_is_told_so() -> None:
    made = core()
    made.placed(placement(A), T0)
    (command,) = made.reported(ReplicaReport(A, ReplicaState.FAILED, "others hold it", transient=True), T0)
    assert isinstance(command, PublishStatus)
    assert command.status.transient


def test_chunks_that_the_device_lacks_fail_the_replica_with_the_numbers() -> None:
    made = core()
    commands = made.placed(placement(A, chunks=(1, 2)), T0)
    assert states(commands) == {A: ReplicaState.FAILED}
    assert "chunks [1, 2] of a device with 2" in made.actual[A].reason


def test_a_dead_worker_takes_its_replicas_to_loading_in_another_life_and_they_come_back() -> None:
    made = core()
    made.placed(placement(A), T0)
    made.reported(ReplicaReport(A, ReplicaState.READY), T0)
    commands = made.worker_died("SIGKILL", T0)
    assert states(commands) == {A: ReplicaState.LOADING}
    assert made.actual[A].incarnation != "life-1"
    assert loads(made.worker_started("life-2", "cpu", 2, T0)) == [A]
    assert made.actual[A].restarts == 1


def test_a_replica_that_kills_the_worker_whenever_it_loads_fails_and_its_neighbours_live() -> None:
    made = core()
    made.placed(placement(A), T0)
    made.reported(READY_A, T0)
    made.placed(placement(B), T0)
    assert states(made.worker_died("SIGSEGV", T0)) == {A: ReplicaState.LOADING, B: ReplicaState.LOADING}
    died: list[Command] = []
    for life in ("life-2", "life-3"):
        assert loads(made.worker_started(life, "cpu", 2, T0)) == [A]  # the suspect waits until it would be alone
        assert loads(made.reported(READY_A, T0)) == [B]
        died = made.worker_died("SIGSEGV", T0)
    assert states(died) == {A: ReplicaState.LOADING, B: ReplicaState.FAILED}
    assert "died 3 times while loading this alone: SIGSEGV" in made.actual[B].reason
    assert loads(made.worker_started("life-4", "cpu", 2, T0)) == [A]
    assert loads(made.reported(READY_A, T0)) == []


def test_a_worker_that_is_killed_again_and_again_while_several_load_fails_none_of_them() -> None:
    made = core()
    for life in range(9):
        made.placed(placement(A), T0)
        made.placed(placement(B), T0)
        made.worker_died("SIGKILL", T0)
        loaded = loads(made.worker_started(f"life-{life}", "cpu", 2, T0))
        while made.loading:
            (alone,) = loaded
            loaded = loads(made.reported(ReplicaReport(alone, ReplicaState.READY), T0))
        assert {status.state for status in made.actual.values()} == {ReplicaState.READY}
        for replica in (A, B):
            made.unplaced(replica)
            made.drained(replica, T0)


steps = st.lists(
    st.tuples(
        st.sampled_from(["placed", "unplaced", "started", "died", "ready", "failed", "drained"]),
        st.sampled_from([A, B, ReplicaId("c")]),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(steps)
def test_whatever_happens_all_that_is_desired_comes_up_or_fails(script: list[tuple[str, ReplicaId]]) -> None:
    made = core()
    draining: set[ReplicaId] = set()

    def note(commands: list[Command]) -> None:
        draining.update(command.replica for command in commands if isinstance(command, DrainReplica))

    for step, replica in script:
        if step == "placed":
            note(made.placed(placement(replica), T0))
        elif step == "unplaced":
            note(made.unplaced(replica))
        elif step == "died" and made.worker_ready:
            note(made.worker_died("SIGKILL", T0))
            draining.clear()
        elif step == "started" and not made.worker_ready:
            note(made.worker_started("another", "cpu", 2, T0))
        elif step in ("ready", "failed") and replica in made.loading:
            note(made.reported(ReplicaReport(replica, ReplicaState(step)), T0))
        elif step == "drained" and replica in draining:
            draining.discard(replica)
            note(made.drained(replica, T0))
        assert made.loading <= made.actual.keys()
    if not made.worker_ready:
        made.worker_started("last", "cpu", 2, T0)
        draining.clear()
    for replica in draining:
        made.drained(replica, T0)
    while made.loading:
        made.reported(ReplicaReport(min(made.loading), ReplicaState.READY), T0)
    assert made.actual.keys() == made.desired.keys()
    assert {status.state for status in made.actual.values()} <= {ReplicaState.READY, ReplicaState.FAILED}


def test_a_failed_replica_stays_failed_until_its_placement_goes() -> None:
    made = core()
    made.placed(placement(A), T0)
    made.reported(ReplicaReport(A, ReplicaState.FAILED, "bad model"), T0)
    assert made.placed(replace(placement(A), reason="other words"), T0) == []
    assert made.worker_died("x", T0) == []
    assert loads(made.worker_started("life-2", "cpu", 2, T0)) == []
    assert made.unplaced(A) == [ForgetStatus(A)]


def test_a_stopping_node_loads_nothing_again() -> None:
    made = core()
    made.placed(placement(A), T0)
    made.stopping = True
    assert made.drained(A, T0) == [ForgetStatus(A)]


def test_time_that_is_promised_to_others_is_refused_with_the_numbers_and_may_be_tried_again() -> None:
    made = core()
    made.placed(placement(A, function=holding(0.6)), T0)
    commands = made.placed(placement(B, function=holding(0.5, name="g")), T0)
    assert states(commands) == {B: ReplicaState.FAILED}
    assert made.actual[B].reason == "0.6 of the time of chunk 0 is promised to others, quota_request is 0.5"
    assert made.actual[B].transient
    assert made.actual[A].state is ReplicaState.LOADING
    assert loads(made.placed(placement(ReplicaId("c"), chunks=(1,), function=holding(0.5, name="g")), T0)) == ["c"]


def test_another_generation_of_the_same_function_may_overlap_until_it_leaves() -> None:
    made = core()
    made.placed(placement(A, function=holding(0.9)), T0)
    assert loads(made.placed(placement(B, function=holding(0.9, generation=2)), T0)) == [B]


def test_time_promised_before_the_device_was_known_is_checked_when_it_is() -> None:
    made = core(ready=False)
    made.placed(placement(A, function=holding(0.6)), T0)
    made.placed(placement(B, function=holding(0.5, name="g")), T0)
    commands = made.worker_started("life-1", "cpu", 2, T0)
    assert loads(commands) == [A]
    assert made.actual[B].state is ReplicaState.FAILED


def test_a_placement_that_changes_while_it_runs_is_a_resize() -> None:
    made = core()
    made.placed(placement(A, function=holding(0.5)), T0)
    made.reported(READY_A, T0)
    wider = placement(A, chunks=(0, 1), function=holding(0.4, percent=100))
    assert made.placed(wider, T0) == [ResizeReplica(wider)]
    made.reported(ReplicaReport(A, ReplicaState.READY, placement=wider), T0)
    status = made.actual[A]
    assert status.chunks == (0, 1)
    assert status.slice == wider.function.slice
    assert made.placed(wider, T0) == []


def test_a_resize_that_does_not_fit_leaves_the_replica_as_it_is_and_says_why() -> None:
    made = core()
    before = placement(A, function=holding(0.5))
    made.placed(before, T0)
    made.placed(placement(B, function=holding(0.5, name="g")), T0)
    made.reported(READY_A, T0)
    commands = made.placed(placement(A, function=holding(0.7)), T0)
    assert not any(isinstance(command, ResizeReplica) for command in commands)
    assert made.actual[A].state is ReplicaState.READY
    assert "keeps its slice: 0.5 of the time of chunk 0 is promised to others" in made.actual[A].note
    assert made.desired[A] == before


def refused_resize() -> tuple[DeviceCore, Placement]:
    """A holds half of a chunk and was refused 0.7 of it, because B has the other half."""
    made = core()
    made.placed(placement(A, function=holding(0.5)), T0)
    made.placed(placement(B, function=holding(0.5, name="g")), T0)
    made.reported(READY_A, T0)
    wanted = placement(A, function=holding(0.7))
    assert made.placed(wanted, T0)
    return made, wanted


def test_a_resize_that_was_refused_is_made_when_others_leave_room() -> None:
    made, wanted = refused_resize()
    assert made.unplaced(B) == [DrainReplica(B), ResizeReplica(wanted)]
    assert made.desired[A] == wanted
    made, wanted = refused_resize()
    smaller = placement(B, function=holding(0.3, name="g"))
    assert made.placed(smaller, T0) == [ResizeReplica(smaller), ResizeReplica(wanted)]
    made, wanted = refused_resize()
    assert ResizeReplica(wanted) in made.reported(ReplicaReport(B, ReplicaState.FAILED, "bad model"), T0)


def test_a_resize_that_was_refused_is_forgotten_when_another_is_wanted() -> None:
    made, _ = refused_resize()
    made.placed(placement(A, function=holding(0.4)), T0)
    assert made.unplaced(B) == [DrainReplica(B)]
    made, _ = refused_resize()
    made.unplaced(A)
    assert made.unplaced(B) == [DrainReplica(B)]


def test_a_share_below_one_chunk_is_rounded_up_and_said() -> None:
    made = core()
    made.placed(placement(A, function=holding(0.5, percent=12)), T0)
    assert made.actual[A].note == "sm_partition 12 is 0.24 of 2 chunks, rounded up to 1"
    made.placed(placement(B, chunks=(1,), function=holding(0.5, percent=50)), T0)
    assert made.actual[B].note == ""


def test_a_replica_that_failed_while_it_was_leaving_is_forgotten_with_its_worker() -> None:
    made = core()
    made.placed(placement(A), T0)
    made.unplaced(A)
    made.reported(ReplicaReport(A, ReplicaState.FAILED, "it does not load"), T0)
    assert made.worker_died("SIGKILL", T0) == [ForgetStatus(A)]
    assert made.actual == {}


def test_a_refused_resize_stays_told_whatever_else_is_reported() -> None:
    made = core()
    made.placed(placement(A, function=holding(0.5)), T0)
    made.placed(placement(B, function=holding(0.5, name="g")), T0)
    made.reported(READY_A, T0)
    made.placed(placement(A, function=holding(0.7)), T0)
    made.reported(ReplicaReport(A, ReplicaState.READY, placement=placement(A, function=holding(0.5))), T0)
    assert "keeps its slice" in made.actual[A].note


def test_a_replica_that_found_no_time_is_loaded_when_another_has_left() -> None:
    made = core()
    made.placed(placement(A, function=holding(0.8)), T0)
    made.reported(READY_A, T0)
    assert loads(made.placed(placement(B, function=holding(0.5, name="g")), T0)) == []
    made.unplaced(A)
    assert made.actual[B].state is ReplicaState.FAILED
    assert loads(made.drained(A, T0)) == [B]
    assert made.actual[B].state is ReplicaState.LOADING
    assert not made.actual[B].transient


def test_a_replica_that_found_no_time_is_loaded_when_another_holds_less() -> None:
    made = core()
    made.placed(placement(A, function=holding(0.8)), T0)
    made.reported(READY_A, T0)
    made.placed(placement(B, function=holding(0.5, name="g")), T0)
    assert loads(made.placed(placement(A, function=holding(0.3)), T0)) == [B]


def test_a_replica_that_found_no_memory_is_tried_again_when_another_has_left_and_only_then() -> None:
    made = core()
    third = ReplicaId("c")
    for replica, name in ((A, "f"), (B, "g"), (third, "h")):
        made.placed(placement(replica, function=holding(0.2, name=name)), T0)
    made.reported(READY_A, T0)
    made.reported(ReplicaReport(B, ReplicaState.FAILED, "others hold it", transient=True), T0)
    made.reported(ReplicaReport(third, ReplicaState.FAILED, "it is broken"), T0)
    made.unplaced(A)
    assert loads(made.drained(A, T0)) == [B]


def test_a_new_worker_tries_again_what_found_no_memory_and_not_what_is_broken() -> None:
    made = core()
    made.placed(placement(A, function=holding(0.2)), T0)
    made.placed(placement(B, function=holding(0.2, name="g")), T0)
    made.reported(ReplicaReport(A, ReplicaState.FAILED, "others hold it", transient=True), T0)
    made.reported(ReplicaReport(B, ReplicaState.FAILED, "it is broken"), T0)
    made.worker_died("killed", T0)
    assert loads(made.worker_started("life-2", "cpu", 2, T0)) == [A]


def test_who_was_turned_away_and_removed_is_not_tried_again() -> None:
    made = core()
    made.placed(placement(A, function=holding(0.8)), T0)
    made.reported(READY_A, T0)
    made.placed(placement(B, function=holding(0.5, name="g")), T0)
    assert made.unplaced(B) == [ForgetStatus(B)]
    made.unplaced(A)
    assert loads(made.drained(A, T0)) == []
