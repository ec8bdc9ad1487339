"""When a table is no longer believed, and when measuring anew is known to be no help."""

import pytest
from msgspec.structs import replace

from fastgshare.profiler.core import commands as do
from fastgshare.profiler.core.drift import FIRST_PEACE_US, LONGEST_PEACE_US, Drift
from fastgshare.profiler.core.keys import TableKey
from fastgshare.profiler.core.plan import Setting
from fastgshare.profiler.core.points import point_from
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.ids import DeviceId, Digest, ReplicaId
from fastgshare.shared.messages import (
    LoanReply,
    LoanState,
    LoanWish,
    MeasureReply,
    Profile,
    ProfileState,
    ReplicaState,
)
from fastgshare.shared.units import US_PER_S
from tests.profiler.samples import device_status, replica_status, times
from tests.profiler.world import Scheduler, Worker, World, lends, silent, steady

KEY = TableKey("digest.cpu")
REPLICA = ReplicaId("echo-g1-000001")


def table(version: int = 1, scale: float = 1.0) -> Profile:
    settings = [Setting(sm, 1.0, batch) for sm in (50, 100) for batch in (1, 2)]
    points = tuple(point_from(at, times(at, fixed_us=round(900 * scale), per_input_us=0)) for at in settings)
    return Profile(
        model_digest=Digest("digest"),
        device_kind="cpu",
        state=ProfileState.COMPLETE,
        points=points,
        table_version=version,
    )


class Ear:
    """Heartbeats each second."""

    def __init__(self) -> None:
        self.drift = Drift()
        self.now_us = 0
        self.drift.table_changed(KEY, table(), 0)

    def hear(self, *drifts: float) -> str:
        for drift in drifts:
            self.now_us += US_PER_S
            self.drift.heard(KEY, REPLICA, drift, self.now_us)
        return self.drift.why(KEY)

    def renew(self, version: int, scale: float) -> str:
        self.drift.table_changed(KEY, replace(table(version - 1), state=ProfileState.MEASURING), self.now_us)
        return self.drift.table_changed(KEY, table(version, scale), self.now_us)


def test_a_table_that_is_off_for_five_seconds_is_wanted_anew() -> None:
    ear = Ear()
    assert not ear.hear(1.3, 1.3, 1.3, 1.3, 1.3)
    assert ear.hear(1.35) == f"batches of {REPLICA} take 1.35 times what the table says"


@pytest.mark.parametrize(
    "drifts",
    [
        (1.15,) * 20,
        (0.85,) * 20,
        (0.0,) * 20,
        (1.3, 1.3, 1.3, 1.3, 1.0) * 5,
        (1.3, 1.3, 1.3, 1.3, 0.0) * 5,
        (1.3, 0.7) * 10,
    ],
)
def test_what_is_near_unknown_or_passing_is_let_be(drifts: tuple[float, ...]) -> None:
    assert not Ear().hear(*drifts)


def test_quick_heartbeats_count_only_over_five_seconds() -> None:
    ear = Ear()
    for _ in range(20):
        ear.now_us += US_PER_S // 10
        ear.drift.heard(KEY, REPLICA, 2.0, ear.now_us)
    assert not ear.drift.why(KEY)


def test_batches_that_got_faster_count_as_well() -> None:
    assert "0.60 times" in Ear().hear(*(0.6,) * 6)


def test_one_that_came_back_by_itself_is_wanted_no_more_unless_it_is_being_measured() -> None:
    ear = Ear()
    ear.hear(*(1.5,) * 6)
    assert not ear.hear(1.05)
    ear.hear(*(1.5,) * 6)
    ear.drift.table_changed(KEY, replace(table(2), state=ProfileState.MEASURING), ear.now_us)
    assert ear.hear(1.05)


def test_a_new_table_that_agrees_with_the_old_is_not_measured_again_soon_and_each_time_later() -> None:
    ear = Ear()
    peace_us = FIRST_PEACE_US
    for version in range(2, 12):
        assert ear.hear(*(1.5,) * 6)
        verdict = ear.renew(2 * version, scale=1.1)
        assert "agrees within 10%" in verdict
        assert f"within {peace_us / US_PER_S / 60:.0f} min" in verdict
        ear.now_us += peace_us - 10 * US_PER_S
        assert not ear.hear(*(1.5,) * 6)
        ear.now_us += 10 * US_PER_S
        ear.hear(1.0)
        ear.renew(2 * version + 1, scale=1.0)  # asked for by a person
        peace_us = min(2 * peace_us, LONGEST_PEACE_US)
    assert peace_us == LONGEST_PEACE_US


def test_a_new_table_that_differs_is_the_end_of_it() -> None:
    ear = Ear()
    assert ear.hear(*(1.5,) * 6)
    assert "differs by 50%" in ear.renew(2, scale=1.5)
    assert not ear.drift.why(KEY)
    assert ear.hear(*(1.5,) * 6), "and if it is off again, so be it"


def test_a_table_that_is_no_more_drifts_no_more() -> None:
    ear = Ear()
    ear.hear(*(1.5,) * 6)
    ear.drift.table_changed(KEY, None, ear.now_us)
    assert not ear.hear(*(1.5,) * 6)


# In the profiler


@pytest.fixture
def serving(world: World) -> World:
    """A complete table, and a replica that serves."""
    world.deploy()
    world.run(3)
    assert world.table().state is ProfileState.COMPLETE
    world.report(replica_status(REPLICA))
    world.measured.clear()
    world.told.clear()
    return world


def drift(world: World, ratio: float, seconds: float = 6.0) -> None:
    world.devices = (device_status(drift={REPLICA: ratio}),)
    world.run(seconds)


def test_a_replica_that_drifts_has_its_table_measured_anew(serving: World) -> None:
    serving.worker = lambda measure: times(measure, fixed_us=1_900, per_input_us=200)
    before = serving.points()
    drift(serving, 2.0)
    after = serving.points()
    assert serving.table().state is ProfileState.COMPLETE
    assert all(after[at].device_us > 1.9 * before[at].device_us for at in after)
    assert [tell.kind for tell in serving.told] == [
        "profile_drift",
        "profile_started",
        "profile_complete",
        "profile_drift",
    ]
    assert "it is measured anew" in serving.told[0].text
    assert not serving.wishes[-1].asked


def test_a_table_that_agrees_is_left_in_peace(serving: World) -> None:
    drift(serving, 2.0)
    assert "agrees within 0%" in serving.told[-1].text
    serving.measured.clear()
    drift(serving, 2.0, seconds=60)
    assert not serving.measured


def test_slices_on_loan_and_other_devices_say_nothing_of_a_table(serving: World) -> None:
    serving.report(replica_status(REPLICA, loan="somebody's"))
    drift(serving, 2.0)
    assert not serving.measured
    serving.report(replica_status(REPLICA, device=DeviceId("node-0-sim0"), device_kind="sim"))
    serving.devices = (device_status(), device_status("node-0-sim0", "sim", drift={REPLICA: 2.0}))
    serving.run(6)
    assert {measure.key.rpartition(".")[2] for measure in serving.measured} == {"sim"}, "which it did not have yet"


def test_the_surface_stays_until_the_new_one_is_there(serving: World) -> None:
    surface = serving.table().surface
    serving.worker = silent
    serving.scheduler = lends
    drift(serving, 2.0)
    serving.answer_well()
    serving.answer_well()
    table = serving.table()
    assert table.state is ProfileState.MEASURING
    assert table.surface == surface
    assert table.axes is not None


def test_both_profilers_hear_of_drift_and_one_measures_once(serving: World) -> None:
    other = World(serving.shared)
    other.report(replica_status(REPLICA))
    other.devices = serving.devices = (device_status(drift={REPLICA: 2.0}),)
    for _ in range(100):
        serving.run(0.2)
        other.run(0.2)
    assert serving.table().state is ProfileState.COMPLETE
    measured = [*serving.settings(), *other.settings()]
    assert len(measured) == len(set(measured)) == len(serving.points())
    assert [tell.kind for tell in (*serving.told, *other.told)].count("profile_complete") == 1


def test_a_grid_that_drifted_stays_a_grid_and_one_asked_for_anew_need_not(serving: World) -> None:
    serving.ask(grid=True)
    serving.run(1)
    serving.worker = lambda measure: times(measure, fixed_us=1_900)
    drift(serving, 2.0)
    assert (serving.table().is_grid, len(serving.points())) == (True, 20)
    assert all(point.device_us > 1_900 for point in serving.points().values())
    serving.ask(again=True)
    serving.run(1)
    assert not serving.table().is_grid


def test_a_replica_that_goes_takes_along_what_it_wanted() -> None:
    ear = Ear()
    assert ear.hear(*(1.5,) * 6)
    ear.drift.gone(KEY, ReplicaId("another"))
    assert ear.drift.why(KEY)
    ear.drift.gone(KEY, REPLICA)
    assert not ear.drift.why(KEY)


def refuses(wish: LoanWish) -> LoanReply:
    return LoanReply(loan=wish.loan, state=LoanState.REFUSED, reason="no such device")


def busy(measure: do.Measure) -> MeasureReply:
    return MeasureReply(error=ErrorBody(ErrorCode.UNAVAILABLE, "the replica is draining"))


@pytest.mark.parametrize(
    ("worker", "scheduler", "lent_state"),
    [
        (silent, refuses, ReplicaState.READY),
        (busy, lends, ReplicaState.READY),
        (silent, lends, ReplicaState.FAILED),
    ],
    ids=["denied", "unavailable", "not loaded"],
)
def test_a_renewal_that_comes_to_nothing_leaves_the_table_and_it_in_peace(
    serving: World, worker: Worker, scheduler: Scheduler, lent_state: ReplicaState
) -> None:
    before = serving.table()
    serving.worker, serving.scheduler, serving.lent_state = worker, scheduler, lent_state
    drift(serving, 2.0, seconds=80)
    assert serving.table() == before
    kept = [tell.text for tell in serving.told if tell.kind == "profile_kept"]
    assert len(kept) == 1
    assert "the table stays as it is, and is not measured again for 10 min" in kept[0]
    serving.worker, serving.scheduler, serving.lent_state = steady, lends, ReplicaState.READY
    drift(serving, 2.0, seconds=500)
    assert serving.table() == before
    drift(serving, 2.0, seconds=60)
    assert serving.table().table_version > before.table_version


def test_one_that_somebody_asks_for_fails_as_any_other(serving: World) -> None:
    serving.lent_state = ReplicaState.FAILED
    serving.ask(again=True)
    serving.run(60)
    assert serving.table().state is serving.reports[-1].state is ProfileState.FAILED
