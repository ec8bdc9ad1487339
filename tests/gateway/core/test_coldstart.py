"""Cold starts: from the first request that is held to the first answer, and in which parts."""

from fastgshare.gateway.core.coldstart import ColdStarted
from fastgshare.gateway.core.gatekeeper import Gatekeeper
from fastgshare.shared.ids import NodeId
from fastgshare.shared.messages import ReplicaState
from tests.gateway.core.scene import FN, SECOND, T0, gate, notice, request, status, ticket

MS = 1_000
LATE_US = T0 + 60 * SECOND


def brought_up(gatekeeper: Gatekeeper, begun_us: int, number: int = 1) -> None:
    """A request is held, a replica is placed after 10 ms, ready after 50, and answers after 60."""
    gatekeeper.node_seen(NodeId("n"), begun_us)
    gatekeeper.admit(ticket(number, LATE_US), request(), begun_us)
    gatekeeper.replica_reported(status("a", ReplicaState.LOADING), begun_us + 10 * MS)
    gatekeeper.replica_reported(status("a", load_ms=30.0), begun_us + 50 * MS)
    gatekeeper.completed(notice("a", f"r{number}.1", end_us=begun_us + 60 * MS), begun_us + 60 * MS)


def test_a_function_without_a_replica_starts_cold_and_its_parts_make_the_whole() -> None:
    gatekeeper = gate()
    brought_up(gatekeeper, T0)
    (started,) = gatekeeper.cold_starts.take_ended()
    assert started == ColdStarted(FN, 60 * MS, placed_us=10 * MS, load_us=30 * MS, ready_us=10 * MS, answer_us=10 * MS)
    assert gatekeeper.cold_starts.take_ended() == []


def test_each_time_it_was_at_zero_counts_and_no_other_answer() -> None:
    gatekeeper = gate()
    brought_up(gatekeeper, T0)
    gatekeeper.admit(ticket(2, LATE_US), request(), T0 + SECOND)
    gatekeeper.completed(notice("a", "r2.1", end_us=T0 + 2 * SECOND), T0 + 2 * SECOND)
    assert len(gatekeeper.cold_starts.take_ended()) == 1
    gatekeeper.replica_removed(status("a").replica, T0 + 3 * SECOND)
    brought_up(gatekeeper, T0 + 20 * SECOND, number=3)
    (again,) = gatekeeper.cold_starts.take_ended()
    assert again.total_us == 60 * MS


def test_waiting_for_a_replica_that_is_on_its_way_back_is_none() -> None:
    gatekeeper = gate(status("a", ReplicaState.LOADING))
    gatekeeper.admit(ticket(1, LATE_US), request(), T0)
    gatekeeper.replica_reported(status("a"), T0 + 50 * MS)
    gatekeeper.completed(notice("a", "r1.1"), T0 + 60 * MS)
    assert gatekeeper.cold_starts.take_ended() == []


def test_who_waited_in_vain_began_nothing() -> None:
    gatekeeper = gate()
    gatekeeper.admit(ticket(1, T0 + SECOND), request(), T0)
    gatekeeper.tick(T0 + 2 * SECOND, connected=True)
    brought_up(gatekeeper, T0 + 5 * SECOND, number=2)
    (started,) = gatekeeper.cold_starts.take_ended()
    assert started.total_us == 60 * MS


def test_a_deleted_function_has_none_under_way() -> None:
    gatekeeper = gate()
    gatekeeper.admit(ticket(1, LATE_US), request(), T0)
    gatekeeper.function_removed(FN, T0)
    assert gatekeeper.cold_starts.take_ended() == []
