"""A replica's slice changes while its thread lives: quotas at once, chunks between batches, the last change holds."""

import threading

import pytest

from fastgshare.node_manager.core.batching import WorkQueue
from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.worker.runner import Runner
from fastgshare.shared.errors import ErrorBody
from fastgshare.shared.ids import ReplicaId
from tests.node_manager.worker.runners import UNREACHABLE, WAIT_S, FakeSession, job, new_gate, scene, wait_for


def test_a_replica_moves_between_two_batches_and_asks_for_its_new_chunks() -> None:
    gate = new_gate()
    here = scene(gate=gate)
    here.runner.submit(job())
    moved = here.runner.resize(Share(0b10, 300, 1000), (1,))
    assert not moved.done()
    here.session.begin.set()
    here.next()
    moved.result(WAIT_S)
    assert here.session.moves == [(1,)]
    assert gate._book.shares()[ReplicaId("r")] == Share(0b10, 300, 1000)
    here.runner.submit(job())
    here.next()


def test_a_move_that_fails_says_so_and_the_replica_stays_where_it_was() -> None:
    here = scene()
    here.session.begin.set()
    with pytest.raises(ModelFault, match="no room there"):
        here.runner.resize(Share(1 << 9, 300, 1000), UNREACHABLE).result(WAIT_S)
    here.runner.submit(job())
    assert not isinstance(here.next().result, ErrorBody)


def test_the_last_of_several_changes_holds_even_if_it_leads_back() -> None:
    gate = new_gate()
    here = scene(gate=gate)
    here.runner.submit(job())  # keeps the thread busy until `begin`
    away = here.runner.resize(Share(0b10, 300, 1000), (1,))
    back = here.runner.resize(Share(0b01, 100, 200), (0,))
    assert not back.done()
    here.session.begin.set()
    away.result(WAIT_S)
    back.result(WAIT_S)
    assert here.session.moves == [(1,), (0,)]
    assert gate._book.shares()[ReplicaId("r")] == Share(0b01, 100, 200)


def test_nothing_runs_elsewhere_while_the_replica_moves() -> None:
    here = scene()
    here.session.begin.set()
    moving, go_on = threading.Event(), threading.Event()

    def slowly(chunks: tuple[int, ...]) -> None:
        moving.set()
        assert go_on.wait(WAIT_S)

    here.session.move = slowly  # type: ignore[method-assign]
    moved = here.runner.resize(Share(0b10, 500, 1000), (1,))
    assert moving.wait(WAIT_S)
    assert here.runner.run_here([job()]) is None
    go_on.set()
    moved.result(WAIT_S)
    assert here.runner.run_here([job()]) is not None


def test_a_change_before_the_start_counts_from_the_start_and_leaves_nothing_behind() -> None:
    gate = new_gate()

    def made() -> Runner:
        return Runner(ReplicaId("r"), Share(0b01, 500, 1000), gate, WorkQueue(4, 1), lambda _: None, lambda _: None)

    never_started = made()
    never_started.resize(Share(0b01, 100, 200), (0,)).result(WAIT_S)
    moved = never_started.resize(Share(0b10, 100, 200), (1,))
    never_started.stop().result(WAIT_S)
    moved.result(WAIT_S)
    assert gate._book.shares() == {}
    runner = made()
    runner.resize(Share(0b01, 100, 200), (0,)).result(WAIT_S)
    runner.start(FakeSession).result(WAIT_S)
    assert gate._book.shares() == {ReplicaId("r"): Share(0b01, 100, 200)}


def test_a_change_after_the_end_leaves_nothing_at_the_gate() -> None:
    gate = new_gate()
    here = scene(gate=gate)
    here.runner.stop().result(WAIT_S)
    assert here.session.closed == 1
    here.runner.resize(Share(0b01, 100, 200), (0,)).result(WAIT_S)
    here.runner.resize(Share(0b10, 100, 200), (1,)).result(WAIT_S)
    assert gate._book.shares() == {}


def test_a_change_that_comes_with_the_end_is_answered() -> None:
    here = scene()
    here.runner.submit(job())
    here.runner.submit(job())
    moved = here.runner.resize(Share(0b10, 300, 1000), (1,))
    here.runner.stop()
    here.session.begin.set()
    moved.result(WAIT_S)


def test_quotas_change_at_once_even_while_a_batch_runs() -> None:
    gate = new_gate()
    here = scene(gate=gate)
    here.runner.submit(job())
    here.runner.resize(Share(0b01, 100, 200), (0,)).result(WAIT_S)
    assert gate._book.shares()[ReplicaId("r")] == Share(0b01, 100, 200)
    here.session.begin.set()
    here.next()


def test_what_computes_outside_of_batches_takes_turns_on_the_chunks_it_computes_on() -> None:
    gate = new_gate()
    other = ReplicaId("other")
    gate.set_share(other, Share(0b10, 500, 1000))
    gate.acquire(other, 1_000)
    here = scene(gate=gate)
    here.session.begin.set()

    def warming_up(chunks: tuple[int, ...]) -> None:
        with here.runner.turn():
            assert gate._book.running() == {ReplicaId("r"): 0b10}
        here.session.moves.append(chunks)

    here.session.move = warming_up  # type: ignore[method-assign]
    moved = here.runner.resize(Share(0b10, 500, 1000), (1,))
    wait_for(lambda: gate._book.waiting() == [ReplicaId("r")])
    assert not moved.done()
    gate.release(other, 1_000)
    moved.result(WAIT_S)
    assert here.session.moves == [(1,)]
