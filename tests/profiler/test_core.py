"""When a table is measured, on what, what interrupts it, and how it ends: scenarios over the pure core."""

import pytest

from fastgshare.profiler.core import facts
from fastgshare.profiler.core.keys import TableKey
from fastgshare.shared.messages import MeasureReply, Profile, ProfileState, ReplicaState
from tests.profiler.samples import OTHER_DIGEST, function_spec, replica_status, times
from tests.profiler.world import Shared, World, silent


def states(shared: Shared) -> list[ProfileState]:
    return [table.state for table in shared.history]


# By itself


def test_a_new_model_is_measured_as_soon_as_it_is_ready_and_quiet(world: World) -> None:
    world.deploy()
    world.report(replica_status(state=ReplicaState.LOADING))
    world.run(5)
    assert not world.measured
    world.report()
    world.run(1)
    assert world.batches() == [1, 2, 4, 8]
    table = world.table()
    assert table.state is ProfileState.COMPLETE
    assert [(point.batch, point.p50_us, point.sm_partition) for point in table.points] == [
        (1, 1_000, 50),
        (2, 1_100, 50),
        (4, 1_300, 50),
        (8, 1_700, 50),
    ]


def test_the_table_grows_version_by_version_and_is_complete_with_its_last_point(world: World) -> None:
    world.deploy()
    world.report()
    world.run(3)
    assert [len(table.points) for table in world.shared.history] == [0, 1, 2, 3, 4]
    assert states(world.shared) == [ProfileState.MEASURING] * 4 + [ProfileState.COMPLETE]
    versions = [table.table_version for table in world.shared.history]
    assert versions == sorted(set(versions))
    assert world.table().wall_ms == pytest.approx(20 * (1.0 + 1.1 + 1.3 + 1.7))


def test_start_and_end_are_told(world: World) -> None:
    world.deploy()
    world.report()
    world.run(3)
    assert [tell.kind for tell in world.told] == ["profile_started", "profile_complete"]
    assert {tell.function for tell in world.told} == {"echo"}


def test_a_complete_table_is_left_alone_and_identical_models_share_it(world: World) -> None:
    world.deploy()
    world.report()
    world.run(3)
    world.deploy(function_spec("twin"))
    world.report(replica_status("twin-g1-000001", "twin"))
    world.run(10)
    assert world.batches() == [1, 2, 4, 8]


def test_a_twin_that_takes_larger_batches_has_only_those_measured(world: World) -> None:
    world.deploy()
    world.report()
    world.run(3)
    world.deploy(function_spec("twin", max_batch=16))
    world.report(replica_status("twin-g1-000001", "twin", max_batch=16))
    world.run(3)
    assert world.batches() == [1, 2, 4, 8, 16]
    assert [measure.replica for measure in world.measured][-1] == "twin-g1-000001"
    assert [point.batch for point in world.table().points] == [1, 2, 4, 8, 16]


def test_a_replica_that_takes_one_input_at_a_time_is_measured_at_one(world: World) -> None:
    world.deploy(function_spec(max_batch=8))
    world.report(replica_status(max_batch=1))
    world.run(3)
    assert world.batches() == [1]
    assert world.table().state is ProfileState.COMPLETE


def test_a_replica_of_a_function_nobody_deploys_is_not_measured(world: World) -> None:
    world.report()
    world.run(5)
    assert not world.measured


def test_a_replica_on_a_node_that_fell_silent_is_not_measured(world: World) -> None:
    world.deploy()
    world.report()
    world.now_us += 60_000_000
    world.tell(facts.Ticked())
    assert not world.measured
    world.run(1)
    assert world.measured


def test_a_device_measures_one_thing_at_a_time_two_devices_measure_side_by_side() -> None:
    world = World(worker=silent)
    world.deploy()
    world.deploy(function_spec("other", OTHER_DIGEST))
    world.deploy(function_spec("third", OTHER_DIGEST))
    world.report()
    world.report(replica_status("other-g1-000001", "other", OTHER_DIGEST))
    world.run(5)
    assert len(world.pending) == 1
    world.report(replica_status("third-g1-000001", "third", OTHER_DIGEST, device="node-0-cpu1"))
    world.run(1)
    assert [measure.replica for measure in world.pending] == ["echo-g1-000001", "third-g1-000001"]


# Beside running functions


def test_a_function_with_traffic_is_left_in_peace_until_it_was_quiet_for_two_seconds(world: World) -> None:
    world.deploy()
    world.report()
    for arrived in range(1, 30):
        world.traffic(arrived)
        world.run(0.4)
    assert not world.measured
    world.run(1.4)
    assert not world.measured
    world.run(0.4)
    assert world.batches() == [1, 2, 4, 8]


def test_a_profiler_that_only_just_began_to_listen_does_not_take_silence_for_quiet(world: World) -> None:
    world.deploy()
    world.report()
    world.run(1.8)
    assert not world.measured
    world.run(0.4)
    assert world.measured


def test_counts_from_before_are_no_traffic_but_those_of_a_restarted_gateway_are(world: World) -> None:
    world.traffic(5_000)
    world.run(3)
    world.traffic(3, incarnation="two")
    world.deploy()
    world.report()
    world.run(1.8)
    assert not world.measured
    world.run(0.4)
    assert world.measured


def test_traffic_that_comes_meanwhile_stops_it_after_the_point_and_quiet_resumes_it(paused: World) -> None:
    paused.traffic(0)
    paused.traffic(1)
    paused.answer(times(1))
    assert not paused.pending
    assert not paused.shared.claims
    assert paused.table().state is ProfileState.MEASURING
    paused.run(3)
    assert paused.batches() == [1, 2]
    assert [tell.kind for tell in paused.told] == ["profile_started"], "told once, not at every pause"


# Interruptions


def test_a_table_found_half_done_is_continued_from_its_points(paused: World) -> None:
    paused.answer(times(1))
    successor = World(Shared(tables=paused.shared.tables))
    successor.deploy()
    successor.report()
    successor.run(3)
    assert successor.batches() == [2, 4, 8]
    assert [point.batch for point in successor.table().points] == [1, 2, 4, 8]


def test_a_table_that_lacks_nothing_but_its_closing_is_closed(paused: World) -> None:
    paused.answer(times(1))
    successor = World(Shared(tables=paused.shared.tables))
    successor.deploy()
    successor.report(replica_status(max_batch=1))
    successor.run(3)
    assert not successor.measured
    assert successor.table().state is ProfileState.COMPLETE


def test_a_replica_lost_in_the_middle_is_given_up_and_another_continues(paused: World) -> None:
    paused.answer(times(1))
    paused.lose("echo-g1-000001")
    assert not paused.pending
    assert not paused.shared.claims
    paused.run(3)
    paused.report(replica_status("echo-g1-000002"))
    paused.run(1)
    assert [(m.request.batch, m.replica) for m in paused.measured][-1] == (2, "echo-g1-000002")


def test_an_answer_that_comes_after_its_replica_was_lost_counts_for_nothing(paused: World) -> None:
    late = paused.pending[0]
    paused.lose("echo-g1-000001")
    paused.tell(facts.Measured(late.key, late.ticket, times(1)))
    assert paused.table().points == ()


@pytest.mark.parametrize("state", [ReplicaState.DRAINING, ReplicaState.FAILED, ReplicaState.LOADING])
def test_a_replica_that_is_no_longer_ready_is_no_longer_measured(paused: World, state: ReplicaState) -> None:
    paused.report(replica_status(state=state))
    assert not paused.pending


def test_a_replica_that_dies_of_a_batch_is_not_killed_for_ever(paused: World) -> None:
    for life in range(10):
        paused.report(replica_status(incarnation=f"life {life}"))
        paused.run(30)
    assert paused.batches() == [1, 1, 1]
    assert paused.table().state is ProfileState.FAILED
    assert "batch 1 could not be measured in 3 attempts: replica echo-g1-000001 was lost" in paused.table().reason


def test_a_replica_that_is_drained_again_and_again_says_nothing_about_its_model(paused: World) -> None:
    for number in range(10):
        paused.report(replica_status(f"echo-g1-00000{number}"))
        paused.run(3)
        paused.report(replica_status(f"echo-g1-00000{number}", state=ReplicaState.DRAINING))
        paused.lose(f"echo-g1-00000{number}")
    assert paused.table().state is ProfileState.MEASURING


def test_a_claim_lost_in_the_middle_is_taken_up_again_from_what_is_stored(paused: World) -> None:
    paused.answer(times(1))
    paused.lose_claim()
    paused.run(3)
    assert paused.batches() == [1, 2, 2]


def test_a_table_continued_on_another_slice_size_is_begun_anew_and_kept_to_that_size(paused: World) -> None:
    whole_device = MeasureReply(execute_us=(500,) * 10, chunks=2, total_chunks=2)
    paused.answer(times(1))
    paused.lose("echo-g1-000001")
    paused.report(replica_status("echo-g1-000002", chunks=(0, 1)))
    paused.run(3)
    paused.answer(whole_device)
    assert [(point.batch, point.sm_partition) for point in paused.table().points] == [(2, 100)]
    paused.report()  # the first size is back, and first in order
    paused.worker = lambda measure: whole_device
    paused.answer(whole_device)
    paused.run(3)
    assert [(p.batch, p.sm_partition) for p in paused.table().points] == [(1, 100), (2, 100), (4, 100), (8, 100)]
    assert {measure.replica for measure in paused.measured[2:]} == {"echo-g1-000002"}


# What others write


def test_a_late_older_version_changes_nothing_and_a_deleted_table_is_measured_anew(world: World) -> None:
    world.deploy()
    world.report()
    world.run(3)
    key = TableKey(next(iter(world.shared.tables)))
    world.tell(facts.TableSeen(key, world.shared.history[1]))
    world.run(3)
    assert world.batches() == [1, 2, 4, 8]
    del world.shared.tables[key]
    world.tell(facts.TableSeen(key, None))
    world.run(3)
    assert world.batches() == [1, 2, 4, 8] * 2


def test_of_two_profilers_one_measures_and_neither_measures_a_point_twice() -> None:
    shared = Shared()
    one, two = World(shared, worker=silent), World(shared, worker=silent)
    for world in (one, two):
        world.deploy()
        world.report()
    for _ in range(80):
        for world, other in ((one, two), (two, one)):
            world.run(0.2)
            if world.pending:
                world.answer(times(world.pending[0].request.batch))
            for key, table in shared.tables.items():
                other.tell(facts.TableSeen(key, table))
    assert sorted(one.batches() + two.batches()) == [1, 2, 4, 8]


def test_what_the_other_stored_just_before_the_claim_is_not_measured_again(world: World) -> None:
    done = World()
    done.deploy()
    done.report()
    done.run(3)
    world.shared.tables |= done.shared.tables
    world.deploy()
    world.report()
    world.run(5)
    assert not world.measured
    assert not world.shared.claims


def test_a_device_that_calls_itself_something_fancy_still_has_a_key(world: World) -> None:
    world.deploy()
    world.report(replica_status(device_kind="NVIDIA H200 (MIG 1g.18gb)"))
    world.run(3)
    (table,) = world.shared.tables.values()
    assert isinstance(table, Profile)
    assert table.device_kind == "NVIDIA H200 (MIG 1g.18gb)"
    (key,) = world.shared.tables
    assert key.partition(".")[2] == "NVIDIA_H200__MIG_1g_18gb_"
