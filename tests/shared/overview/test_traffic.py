"""Reports of counts since a gateway's start become what happened lately: nothing lost, nothing counted twice."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.shared.codec import decode, encode
from fastgshare.shared.ids import FunctionName, GatewayId
from fastgshare.shared.messages import PastTraffic, SlotCount
from fastgshare.shared.overview.fold import Overview
from fastgshare.shared.overview.traffic import Seconds, Window
from fastgshare.shared.overview.view import SPARK_POINTS, FunctionView
from fastgshare.shared.units import US_PER_MS, US_PER_S
from tests.shared.overview.platform import NOW_US, OCR, counts, report, spec

MINUTE_US = 60 * US_PER_S


def _watched() -> Overview:
    overview = Overview()
    overview.function(OCR, spec(slo_percentile=99.0))
    overview.report(report(), NOW_US)
    return overview


def _past(overview: Overview, now_us: int) -> PastTraffic:
    """What it tells, as it travels."""
    told = PastTraffic(gateway=GatewayId("g1"), functions=dict(overview.past(now_us)))
    return decode(PastTraffic, encode(told))


def _seen(overview: Overview, now_us: int) -> FunctionView:
    return overview.view(now_us).functions[0]


def test_what_was_before_anyone_looked_is_not_counted() -> None:
    overview = Overview()
    overview.function(OCR, spec())
    overview.report(report(counts(met=1000, missed=1000)), NOW_US)
    assert _seen(overview, NOW_US).attainment == {"1m": None, "10m": None, "1h": None}
    overview.report(report(counts(met=1003, missed=1001)), NOW_US + US_PER_S)
    assert _seen(overview, NOW_US + US_PER_S).attainment["1m"] == 0.75


def test_who_begins_to_look_takes_over_what_others_have_seen_and_counts_on() -> None:
    watched = _watched()
    watched.report(report(counts(met=70, missed=30)), NOW_US + US_PER_S)
    now_us = NOW_US + 5 * MINUTE_US
    watched.report(report(counts(met=79, missed=31)), now_us)
    fresh = Overview()
    fresh.function(OCR, spec(slo_percentile=99.0))
    fresh.report(report(counts(met=79, missed=31)), now_us)
    fresh.believe(_past(watched, now_us), now_us)
    assert (
        _seen(fresh, now_us).attainment
        == _seen(watched, now_us).attainment
        == {
            "1m": 0.9,
            "10m": round(79 / 110, 6),
            "1h": round(79 / 110, 6),
        }
    )
    later_us = now_us + 2 * MINUTE_US
    fresh.report(report(counts(met=79, missed=41)), later_us)
    assert _seen(fresh, later_us).attainment == {"1m": 0.0, "10m": round(79 / 120, 6), "1h": round(79 / 120, 6)}
    assert _seen(fresh, now_us + 11 * MINUTE_US).attainment["10m"] == 0.0
    assert _seen(fresh, now_us + 70 * MINUTE_US).attainment["1h"] is None


def test_who_has_seen_less_is_not_believed_and_nothing_is_counted_twice() -> None:
    watched = _watched()
    watched.report(report(counts(met=8, missed=2)), NOW_US + US_PER_S)
    fewer = _watched()
    fewer.report(report(counts(met=1, missed=2)), NOW_US + US_PER_S)
    now_us = NOW_US + 2 * US_PER_S
    for past in (_past(fewer, now_us), _past(watched, now_us), PastTraffic(gateway=GatewayId("g2"), functions={})):
        watched.believe(past, now_us)
    assert _seen(watched, now_us).attainment["1m"] == 0.8


def test_what_cannot_be_is_not_believed() -> None:
    overview = _watched()
    slots: tuple[SlotCount, ...] = (SlotCount(-1, 5, 0), SlotCount(60, 5, 0), SlotCount(3, -9, 10), SlotCount(3, 1, 1))
    past = {OCR: {"1m": slots, "2m": slots}, FunctionName("other"): {"1m": slots}}
    overview.believe(PastTraffic(gateway=GatewayId("g2"), functions=past), NOW_US)
    assert _seen(overview, NOW_US).attainment == {"1m": 0.5, "10m": None, "1h": None}


def test_a_gateway_that_starts_again_counts_from_nothing() -> None:
    overview = _watched()
    overview.report(report(counts(met=90)), NOW_US + US_PER_S)
    overview.report(report(counts(met=5, missed=5), incarnation="two"), NOW_US + 2 * US_PER_S)
    assert _seen(overview, NOW_US + 2 * US_PER_S).attainment["1m"] == 0.95


def test_a_gateway_that_comes_later_counts_from_its_start() -> None:
    overview = _watched()
    late_us = NOW_US + MINUTE_US
    overview.report(report(counts(met=1, missed=3), gateway="g2"), late_us)
    assert _seen(overview, late_us).attainment["1m"] == 0.25


def test_windows_forget_and_the_budget_burns_by_the_percentile() -> None:
    overview = _watched()
    overview.report(report(counts(met=98, missed=2)), NOW_US + US_PER_S)
    seen = _seen(overview, NOW_US + 5 * MINUTE_US)
    assert seen.attainment == {"1m": None, "10m": 0.98, "1h": 0.98}
    assert seen.burn["1m"] is None
    assert seen.burn["10m"] == pytest.approx(2.0)
    assert _seen(overview, NOW_US + 70 * MINUTE_US).attainment["1h"] is None


def test_an_objective_without_a_budget_has_no_burn() -> None:
    overview = _watched()
    overview.function(OCR, spec(slo_percentile=100.0))
    overview.report(report(counts(met=1, missed=1)), NOW_US + US_PER_S)
    assert _seen(overview, NOW_US + US_PER_S).burn == {"1m": None, "10m": None, "1h": None}


def test_rates_and_latencies_are_of_the_last_seconds() -> None:
    overview = _watched()
    for second in range(1, 31):
        took_us = 400 * US_PER_MS if second <= 15 else 40 * US_PER_MS
        before = counts(met=20 * second, missed=5 * second, took_us=took_us)
        overview.report(report(before, incarnation="one" if second <= 15 else "two"), NOW_US + second * US_PER_S)
    seen = _seen(overview, NOW_US + 30 * US_PER_S)
    assert (seen.rate, seen.goodput) == (25.0, 20.0)
    assert seen.p99_ms is not None
    assert 30 < seen.p99_ms <= 40
    idle = _seen(overview, NOW_US + 60 * US_PER_S)
    assert (idle.rate, idle.p50_ms, idle.p99_ms) == (0.0, None, None)


def test_a_rate_is_known_before_ten_seconds_are_over() -> None:
    overview = _watched()
    for second in range(1, 4):
        overview.report(report(counts(met=10 * second)), NOW_US + second * US_PER_S)
    assert _seen(overview, NOW_US + 4 * US_PER_S).rate == pytest.approx(10.0)


def test_sparklines_move_on_and_show_when_it_was() -> None:
    overview = _watched()
    overview.report(report(counts(met=8, missed=4)), NOW_US + US_PER_S)
    seen = _seen(overview, NOW_US + 20 * US_PER_S)
    assert len(seen.rate_spark) == len(seen.missed_spark) == SPARK_POINTS
    assert (sum(seen.rate_spark), sum(seen.missed_spark)) == (6.0, 2.0)
    assert seen.rate_spark[SPARK_POINTS - 10 : SPARK_POINTS - 8] in ((6.0, 0.0), (0.0, 6.0))
    assert sum(_seen(overview, NOW_US + 200 * US_PER_S).rate_spark) == 0


def test_refusals_are_counted_by_code_and_work_in_hand_is_of_those_heard() -> None:
    overview = _watched()
    overview.report(report(counts(refused={"overloaded": 2}, held=3)), NOW_US + US_PER_S)
    overview.report(report(counts(refused={"overloaded": 5, "invalid": 1}, held=4)), NOW_US + 2 * US_PER_S)
    seen = _seen(overview, NOW_US + 3 * US_PER_S)
    assert seen.refused == {"invalid": 1, "overloaded": 5}
    assert seen.held == 4
    assert _seen(overview, NOW_US + 30 * US_PER_S).held == 0


def test_a_function_deployed_anew_begins_anew() -> None:
    overview = _watched()
    overview.report(report(counts(met=5, missed=5)), NOW_US + US_PER_S)
    overview.function(OCR, None)
    overview.report(report(counts(met=6, missed=6)), NOW_US + 2 * US_PER_S)
    overview.function(OCR, spec())
    assert _seen(overview, NOW_US + 2 * US_PER_S).attainment["1m"] is None
    overview.report(report(counts(met=9, missed=6)), NOW_US + 3 * US_PER_S)
    assert _seen(overview, NOW_US + 3 * US_PER_S).attainment["1m"] == 1.0


_steps = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(0, 3), st.booleans(), st.sampled_from(["g1", "g2"])),
    max_size=30,
)


@given(_steps)
def test_every_request_counts_once_however_gateways_restart(
    steps: list[tuple[int, int, int, bool, str]],
) -> None:
    overview = _watched()
    overview.report(report(gateway="g2"), NOW_US)
    now_us, life = NOW_US, {"g1": (0, 0, 0), "g2": (0, 0, 0)}
    all_met = all_missed = 0
    for met, missed, seconds, restarts, gateway in steps:
        now_us += seconds * US_PER_S
        had_met, had_missed, lives = life[gateway]
        life[gateway] = (met, missed, lives + 1) if restarts else (had_met + met, had_missed + missed, lives)
        all_met, all_missed = all_met + met, all_missed + missed
        total_met, total_missed, lived = life[gateway]
        incarnation = "one" if not lived else str(lived)
        overview.report(report(counts(total_met, total_missed), gateway, incarnation), now_us)
    share = _seen(overview, now_us).attainment["1h"]
    assert share == (round(all_met / (all_met + all_missed), 6) if all_met + all_missed else None)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9), st.integers(0, 9)), max_size=40), st.integers(0, 200))
def test_a_window_holds_what_an_endless_list_would(adds: list[tuple[int, int, int]], later_s: int) -> None:
    window, kept, now_us = Window(60), [], NOW_US
    for seconds, met, missed in adds:
        now_us += seconds * US_PER_S
        window.add(now_us, met, missed)
        kept.append((now_us, met, missed))
    now_us += later_s * US_PER_S
    inside = [(met, missed) for at_us, met, missed in kept if at_us > now_us - MINUTE_US]
    whole = sum(met + missed for met, missed in inside)
    expected = sum(missed for _, missed in inside) / whole if whole else None
    assert window.missed_share(now_us) == expected


@given(st.lists(st.tuples(st.integers(-5, 9 * US_PER_S), st.integers(0, 100)), max_size=10))
def test_seconds_spread_and_lose_nothing(stretches: list[tuple[int, int]]) -> None:
    seconds, now_us = Seconds(), NOW_US
    for length_us, count in stretches:
        now_us += length_us
        seconds.add(now_us - length_us, now_us, count)
    found = seconds.last(120, now_us // US_PER_S + 2)
    assert math.isclose(sum(found), sum(count for _, count in stretches), abs_tol=1e-6)
