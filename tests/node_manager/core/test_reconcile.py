"""Desired against actual on one device."""

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
)
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, HostId, NodeId, ReplicaId
from fastgshare.shared.messages import FunctionSpec, ModelRef, Placement, ReplicaState

T0 = 1_000
SPEC = FunctionSpec(name=FunctionName("f"), model=ModelRef(digest=Digest("0" * 64), size_bytes=1))
A, B = ReplicaId("a"), ReplicaId("b")


def placement(replica: ReplicaId, epoch: int = 5, chunks: tuple[int, ...] = (0,)) -> Placement:
    return Placement(
        replica=replica, node=NodeId("n"), device=DeviceId("n-cpu0"), chunks=chunks, epoch=epoch, function=SPEC
    )


def core(ready: bool = True) -> DeviceCore:
    made = DeviceCore(host=HostId("h"), device_kind="cpu", chunks=2)
    if ready:
        made.worker_started("life-1", T0)
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
    assert loads(waiting.worker_started("life-1", T0)) == [A]


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


def test_a_stale_leaders_placement_is_refused() -> None:
    made = core()
    made.placed(placement(A, epoch=5), T0)
    (command,) = made.placed(placement(B, epoch=4), T0)
    assert isinstance(command, RefusePlacement)
    assert "epoch 4 is older than 5" in command.reason


def test_chunks_that_the_device_lacks_fail_the_replica_with_the_numbers() -> None:
    made = core()
    commands = made.placed(placement(A, chunks=(1, 2)), T0)
    assert states(commands) == {A: ReplicaState.FAILED}
    assert "chunks [1, 2] on a device with 2" in made.actual[A].reason


def test_a_dead_worker_takes_its_replicas_to_loading_in_another_life_and_they_come_back() -> None:
    made = core()
    made.placed(placement(A), T0)
    made.reported(ReplicaReport(A, ReplicaState.READY), T0)
    commands = made.worker_died("SIGKILL", T0)
    assert states(commands) == {A: ReplicaState.LOADING}
    assert made.actual[A].incarnation != "life-1"
    assert loads(made.worker_started("life-2", T0)) == [A]
    assert made.actual[A].restarts == 1


def test_a_replica_whose_loading_kills_the_worker_twice_fails_and_its_neighbours_live() -> None:
    made = core()
    made.placed(placement(A), T0)
    made.reported(ReplicaReport(A, ReplicaState.READY), T0)
    made.placed(placement(B), T0)
    made.worker_died("SIGSEGV", T0)
    assert loads(made.worker_started("life-2", T0)) == [A, B]
    made.reported(ReplicaReport(A, ReplicaState.READY), T0)
    assert states(made.worker_died("SIGSEGV", T0)) == {A: ReplicaState.LOADING, B: ReplicaState.FAILED}
    assert "SIGSEGV" in made.actual[B].reason
    assert loads(made.worker_started("life-3", T0)) == [A]


def test_a_failed_replica_stays_failed_until_its_placement_goes() -> None:
    made = core()
    made.placed(placement(A), T0)
    made.reported(ReplicaReport(A, ReplicaState.FAILED, "bad model"), T0)
    assert made.placed(replace(placement(A), reason="other words"), T0) == []
    assert made.worker_died("x", T0) == []
    assert loads(made.worker_started("life-2", T0)) == []
    assert made.unplaced(A) == [ForgetStatus(A)]


def test_a_stopping_node_loads_nothing_again() -> None:
    made = core()
    made.placed(placement(A), T0)
    made.stopping = True
    assert made.drained(A, T0) == [ForgetStatus(A)]
