"""Replicas on loan on one device: promised no time, so nobody competes with them; judged like any other else."""

from msgspec.structs import replace

from fastgshare.node_manager.core.reconcile import DrainReplica, ForgetStatus, ReplicaReport, ResizeReplica
from fastgshare.node_manager.core.slices import share_of
from fastgshare.node_manager.core.timetable import Share
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.messages import Placement, ReplicaState
from tests.node_manager.core.test_reconcile import READY_A, T0, A, B, core, holding, loads, placement, states

C = ReplicaId("c")
LENT = ReplicaId("lent")


def lent(chunks: tuple[int, ...] = (0, 1), quota: float = 0.9, replica: ReplicaId = LENT) -> Placement:
    return replace(placement(replica, chunks=chunks, function=holding(quota, name="lent")), loan="wish-1")


def test_a_loan_is_a_share_that_promises_nothing_whatever_its_slice_says() -> None:
    assert share_of(lent()) == Share(0b11, 0, 1000)
    assert share_of(lent()).is_background
    assert share_of(replace(lent(), loan="")) == Share(0b11, 900, 1000)


def test_a_loan_competes_with_nobody_for_time() -> None:
    made = core()
    assert loads(made.placed(placement(A, function=holding(0.9)), T0)) == [A]
    assert loads(made.placed(lent(), T0)) == [LENT]
    assert loads(made.placed(lent(replica=C), T0)) == [C]
    assert loads(made.placed(placement(B, chunks=(1,), function=holding(1.0, name="g")), T0)) == [B]
    for replica in (A, LENT, C, B):
        made.reported(ReplicaReport(replica, ReplicaState.READY), T0)
    made.worker_died("SIGKILL", T0)
    assert loads(made.worker_started("life-2", "cpu", 2, T0)) == [A, LENT, C, B]


def test_a_loan_is_taken_on_while_two_generations_promise_more_than_there_is() -> None:
    made = core()
    made.placed(placement(A, function=holding(0.9)), T0)
    made.placed(placement(B, function=holding(0.9, generation=2)), T0)
    assert loads(made.placed(lent(), T0)) == [LENT]


def test_a_loan_is_told_in_its_status_all_its_life() -> None:
    made = core()
    made.placed(placement(A), T0)
    made.placed(lent(), T0)
    assert (made.actual[A].loan, made.actual[LENT].loan) == ("", "wish-1")
    made.reported(ReplicaReport(LENT, ReplicaState.READY), T0)
    assert (made.actual[LENT].loan, made.actual[LENT].state) == ("wish-1", ReplicaState.READY)
    made.worker_died("SIGKILL", T0)
    assert made.actual[LENT].loan == "wish-1"


def test_a_loan_on_chunks_that_the_device_lacks_fails_with_the_numbers() -> None:
    made = core()
    assert states(made.placed(lent(chunks=(1, 2)), T0)) == {LENT: ReplicaState.FAILED}
    assert "chunks [1, 2] of a device with 2" in made.actual[LENT].reason
    assert made.actual[LENT].loan == "wish-1"


def test_a_loan_is_resized_in_place_and_becomes_regular_only_if_there_is_room() -> None:
    made = core()
    made.placed(placement(A, function=holding(0.9)), T0)
    made.placed(lent(chunks=(0,)), T0)
    made.reported(ReplicaReport(LENT, ReplicaState.READY), T0)
    wider = lent(chunks=(0, 1))
    assert made.placed(wider, T0) == [ResizeReplica(wider)]
    assert made.placed(replace(wider, loan=""), T0)
    assert "keeps its slice: 0.9 of the time of chunk 0" in made.actual[LENT].note
    assert made.actual[LENT].loan == "wish-1"
    regular = replace(wider, loan="", function=holding(0.1, name="lent"))
    assert made.placed(regular, T0) == [ResizeReplica(regular)]
    made.reported(ReplicaReport(LENT, ReplicaState.READY, placement=regular), T0)
    assert made.actual[LENT].loan == ""


def test_a_loan_that_ends_is_drained_then_forgotten() -> None:
    made = core()
    made.placed(lent(), T0)
    assert made.unplaced(LENT) == [DrainReplica(LENT)]
    assert made.drained(LENT, T0) == [ForgetStatus(LENT)]


def test_a_loan_that_kills_the_worker_whenever_it_loads_fails_and_its_neighbours_live() -> None:
    made = core()
    made.placed(placement(A), T0)
    made.reported(READY_A, T0)
    made.placed(lent(), T0)
    for life in ("life-2", "life-3", "life-4"):
        made.worker_died("SIGSEGV", T0)
        assert loads(made.worker_started(life, "cpu", 2, T0)) == [A]
        made.reported(READY_A, T0)
    assert made.actual[LENT].state is ReplicaState.FAILED
    assert "died 3 times while loading this alone: SIGSEGV" in made.actual[LENT].reason
    assert made.actual[A].state is ReplicaState.READY
