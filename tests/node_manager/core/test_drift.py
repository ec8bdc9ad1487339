"""Drift: nothing is said too early, one stall says nothing, and what no longer compares is forgotten."""

from collections import deque

import pytest

from fastgshare.node_manager.core.batching import Timetable
from fastgshare.node_manager.core.drift import LEAST_BATCHES, RECENT_BATCHES, Drift
from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import Profile, ProfilePoint, ProfileState


def drift(*used_us: int, told_us: int = 1_000) -> Drift:
    made = Drift()
    for one_us in used_us:
        made.note(one_us, told_us)
    return made


def test_too_few_batches_say_nothing() -> None:
    assert drift(*[2_000] * (LEAST_BATCHES - 1)).ratio == 0.0
    assert drift(*[2_000] * LEAST_BATCHES).ratio == 2.0


def test_without_a_table_nothing_is_said() -> None:
    assert drift(*[2_000] * 100, told_us=0).ratio == 0.0


def test_stalls_do_not_show() -> None:
    assert drift(*([1_000] * 9 + [500_000]) * 10).ratio == 1.0


def test_only_the_recent_batches_count() -> None:
    assert drift(*[1_000] * 500, *[1_500] * RECENT_BATCHES).ratio == 1.5


def test_a_batch_noted_while_another_thread_forgets_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quick batches run on the event loop, and a table may reach the replica's thread meanwhile."""
    made = drift(*[2_000] * (LEAST_BATCHES - 1))

    class Forgotten(deque[float]):
        def __len__(self) -> int:
            counted = super().__len__()
            self.clear()
            return counted

    monkeypatch.setattr(made, "_ratios", Forgotten(made._ratios, RECENT_BATCHES))
    made.note(2_000, 1_000)
    assert made.ratio == 0.0


def test_another_table_or_other_chunks_start_anew() -> None:
    made = drift(*[2_000] * 100)
    made.forget()
    assert made.ratio == 0.0
    made.note(3_000, 1_000)
    assert made.ratio == 0.0


def profile() -> Profile:
    points = [
        ProfilePoint(
            sm_partition=sm,
            quota=1.0,
            batch=batch,
            throughput_rps=batch * 1e6 / mean_us,
            p50_us=mean_us,
            p95_us=2 * mean_us,
            p99_us=2 * mean_us,
            device_us=mean_us,
            runs=10,
        )
        for sm, scale in ((25, 4), (50, 2), (100, 1))
        for batch, mean_us in ((1, 1_000 * scale), (4, 2_500 * scale))
    ]
    return Profile(model_digest=Digest("d"), device_kind="cpu", state=ProfileState.COMPLETE, points=tuple(points))


def test_batches_are_expected_to_take_what_the_table_says_at_the_replicas_own_share() -> None:
    table = Timetable()
    table.learn_profile(profile())
    assert [table.execute_us(rows) for rows in (1, 2, 4, 8)] == [2_000, 3_000, 5_000, 10_000]
    table.hold(25)
    assert [table.execute_us(rows) for rows in (1, 2, 4, 8)] == [8_000, 12_000, 20_000, 40_000]
    assert [table.told_us(rows) for rows in (1, 2, 4, 8)] == [4_000, 6_000, 10_000, 20_000]


def test_a_share_between_two_measured_ones_lies_between_their_times() -> None:
    table = Timetable()
    table.hold(70)
    table.learn_profile(profile())
    assert 2_000 < table.execute_us(1) < 4_000


def test_a_table_without_a_point_leaves_what_was_learned() -> None:
    table = Timetable()
    table.learn_run(2, 700)
    table.learn_profile(profile())
    assert table.execute_us(2) == 3_000
    table.learn_profile(Profile(model_digest=Digest("d"), device_kind="cpu", state=ProfileState.MEASURING))
    assert (table.execute_us(2), table.told_us(2)) == (700, 0)
    table.learn_profile(profile())
    table.learn_profile(None)
    assert (table.execute_us(2), table.told_us(2)) == (700, 0)
