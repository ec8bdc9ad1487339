"""The demo's tally and figures: every request has one ending, and shares are of everything that was sent."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.demo.figures import Books, CoresBusy, Counts, Latency, Objective, Refusals, Target, Verdict, Wrong
from examples.demo.machine import CoreTime, facts
from examples.demo.pace import Pace
from examples.demo.plan import Phase
from examples.demo.reasons import WORDS, said_by
from examples.demo.summary import (
    counts_of,
    door_figures,
    function_figures,
    notes_on,
    objectives_of,
    phase_figures,
    problems_of,
    timeline,
    unaccounted,
)
from examples.demo.tally import Ending, Outcome, Tally, ending_of, percentile
from fastgshare.shared.errors import ErrorCode

ROOT = Path(__file__).resolve().parents[2]
TARGET = Target("ocr", objective_ms=100.0, percentile=99.0, least_accuracy=0.9)


def outcome(**changes: Any) -> Outcome:
    """An answer in time, but for `changes`."""
    facts: dict[str, Any] = {
        "function": "ocr",
        "phase": 0,
        "door": "nats",
        "due_us": 0,
        "lag_us": 0,
        "latency_us": 20_000,
        "ending": Ending.ANSWERED,
        "right": True,
        "batch": 1,
    }
    return Outcome(**{**facts, **changes})


def refused(code: str = "overloaded", reason: str = "would answer 7 ms late", **changes: Any) -> Outcome:
    ending = ending_of(ErrorCode(code))
    return outcome(ending=ending, code=code, reason=reason, right=None, batch=0, **changes)


LOST = outcome(ending=Ending.LOST, code="lost", reason="connection reset", right=None, batch=0)
LATE = outcome(latency_us=100_001)
EXPIRED = refused("deadline_exceeded", "did not answer in time", latency_us=100_500)


def test_each_request_counts_once() -> None:
    counts = counts_of([outcome(), outcome(latency_us=100_000), LATE, EXPIRED, refused(), LOST], 100.0)
    assert counts == Counts(sent=6, in_time=2, late=1, expired=1, refused=1, lost=1)
    assert counts.attainment == pytest.approx(2 / 6)
    assert counts.attainment_admitted == pytest.approx(2 / 5)


@given(st.lists(st.sampled_from([outcome(), LATE, EXPIRED, refused(), LOST])))
def test_endings_add_up_to_what_was_sent(outcomes: list[Outcome]) -> None:
    counts = counts_of(outcomes, 100.0)
    assert counts.in_time + counts.late + counts.expired + counts.refused + counts.lost == counts.sent
    row = Tally({"ocr": 100_000})
    for ended in outcomes:
        row.add(ended)
    live = row.live(1_000_000, {"ocr": len(outcomes)})[0]
    assert live.in_time == counts.in_time
    assert (live.late, live.expired, live.refused) == (counts.late, counts.expired, counts.refused)
    assert live.attainment == counts.attainment


def test_the_live_view_forgets_what_is_long_over_but_for_its_counts() -> None:
    tally = Tally({"ocr": 100_000, "textdir": 100_000})
    tally.add(outcome(due_us=0, latency_us=90_000))
    for second in range(10, 15):
        tally.add(outcome(due_us=second * 1_000_000, latency_us=10_000))
    ocr, textdir = tally.live(15_000_000, {"ocr": 7})
    assert (ocr.rps, ocr.p50_us, ocr.p99_us) == (1.0, 10_000, 10_000)
    assert (ocr.sent, ocr.in_time, ocr.right) == (7, 6, 6)
    assert (textdir.p99_us, textdir.attainment) == (None, None)


def test_figures_of_a_function_keep_wrong_answers_and_reasons_apart() -> None:
    outcomes = [
        outcome(execute_us=10_000, queue_us=2_000, handler_us=3_000, replica="r-1"),
        outcome(right=False, example="Hello", expected="Hello", got="Hallo", replica="r-1", batch=2),
        outcome(right=False, example="Hello", expected="Hello", got="Hallo", replica="r-2", batch=2),
        refused(),
        refused(reason="would answer 12 ms late"),
        EXPIRED,
    ]
    figures = function_figures(TARGET, outcomes, seconds=2.0)
    assert (figures.right, figures.wrong) == (1, 2)
    assert figures.accuracy == pytest.approx(1 / 3)
    assert figures.wrong_examples == [Wrong("Hello", "Hello", "Hallo", 2)]
    assert figures.refusals == [
        Refusals("overloaded", "gateway", 2, "would answer 7 ms late"),
        Refusals("deadline_exceeded", "client (gave up waiting)", 1, "did not answer in time"),
    ]
    assert (figures.sent_rps, figures.answered_rps) == (3.0, 1.5)
    assert figures.batches == {1: 1, 2: 2}
    assert figures.replicas == {"r-1": 2, "r-2": 1}
    assert figures.means_ms.execute == pytest.approx(10 / 3, abs=0.001)


def test_times_on_the_worker_are_means_over_the_door_that_tells_them() -> None:
    told = outcome(latency_us=20_000, queue_us=1_000, token_us=2_000, execute_us=10_000, handler_us=3_000)
    means = function_figures(TARGET, [told, outcome(door="http", batch=0)], seconds=1.0).means_ms
    assert (means.queue, means.token, means.execute, means.handler, means.elsewhere) == (1.0, 2.0, 10.0, 3.0, 4.0)


def test_phases_and_doors_share_out_all_outcomes() -> None:
    phases = (Phase("calm", 1, 0.3, 0.3, {"ocr": 1}), Phase("burst", 1, 1.3, 1.3, {"ocr": 1}))
    outcomes = [outcome(), outcome(phase=1), outcome(phase=1, door="http"), refused(phase=1)]
    calm, burst = phase_figures(phases, [TARGET], outcomes, 10.0, lambda begin_us, end_us: None)
    assert (calm.functions["ocr"].sent, burst.functions["ocr"].sent) == (1, 3)
    assert (calm.seconds, burst.name, burst.end) == (5.0, "burst", 1.3)
    nats, http = door_figures([TARGET], outcomes)
    assert (nats.door, nats.functions["ocr"].sent) == ("nats", 3)
    assert (http.door, http.functions["ocr"].sent) == ("http", 1)
    assert nats.latency_ms["ocr"].p99 == 20.0


def test_an_objective_is_judged_by_all_that_was_sent_and_again_without_the_overload() -> None:
    phases = (Phase("calm", 1, 0.3, 0.3, {"ocr": 1}), Phase("burst", 1, 1.3, 1.3, {"ocr": 1}))

    def judged(outcomes: list[Outcome]) -> Objective:
        return objectives_of([TARGET], phase_figures(phases, [TARGET], outcomes, 10.0, lambda begin, end: None))["ocr"]

    burst = [outcome(phase=1), refused(phase=1)]
    assert judged([outcome()] * 2 + burst) == Objective(overall=Verdict(0.75, False), below_capacity=Verdict(1.0, True))
    for miss in (EXPIRED, LATE, LOST, refused()):
        assert judged([outcome(), miss]).below_capacity == Verdict(0.5, False)
    assert judged([outcome()] * 99 + [LATE]).overall == Verdict(0.99, True)
    assert judged(burst).below_capacity == Verdict(None, None)


def test_a_phase_is_disturbed_where_others_took_much_of_the_cores() -> None:
    phases = (Phase("calm", 1, 0.3, 0.3, {"ocr": 1}), Phase("busy", 1, 0.8, 0.8, {"ocr": 1}))

    def busy(begin_us: int, end_us: int) -> CoresBusy:
        return CoresBusy(2.0, 1.8 if begin_us == 0 else 0.8)

    calm, crowded = phase_figures(phases, [TARGET], [outcome()], 10.0, busy)
    assert (calm.disturbed, crowded.disturbed) == (False, True)
    (note,) = notes_on(None, [calm, crowded], Latency(0.1, 0.2, 0.3, 0.4), 0)
    assert note.endswith("others disturbed them: busy")


def test_a_refusal_says_who_made_it() -> None:
    assert said_by("deadline_exceeded", "'ocr' did not answer in time") == "client (gave up waiting)"
    assert said_by("unavailable", "no gateway is listening") == "client"
    assert said_by("deadline_exceeded", "no answer within 150 ms") == "gateway"
    assert said_by("overloaded", "function 'ocr' would answer 7 ms after the deadline") == "gateway"
    assert said_by("deadline_exceeded", "3 ms were left when its turn came, too few to run it") == "worker"
    assert said_by("deadline_exceeded", "the deadline passed 0.2 s into preprocess") == "worker"
    assert said_by("lost", "connection reset") == "demo"
    assert said_by("internal", "something new") == "not told"


@pytest.mark.parametrize(
    ("who", "folder"), [("client", "cli"), ("gateway", "services/gateway"), ("worker", "services/node_manager")]
)
def test_those_who_refuse_still_say_it_in_these_words(who: str, folder: str) -> None:
    sources = "".join(path.read_text() for path in (ROOT / folder / "src").rglob("*.py"))
    assert [words for words in WORDS[who] if words not in sources] == []


def test_the_facts_name_the_commit_where_there_is_one(tmp_path: Path) -> None:
    assert "commit" not in facts(tmp_path)
    assert facts(tmp_path)["fastgshare"]
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    assert "commit" not in facts(tmp_path)
    author = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(tmp_path), *author, "commit", "--quiet", "--allow-empty", "-m", "x"], check=True)
    assert len(str(facts(tmp_path)["commit"])) == 12


def test_the_timeline_has_every_second_whether_anything_happened_or_not() -> None:
    outcomes = [outcome(due_us=500_000), refused(due_us=600_000), outcome(due_us=2_500_000)]
    seconds = timeline(TARGET, outcomes, seconds=3.0)
    assert [(second.sent, second.in_time, second.p99_ms) for second in seconds] == [
        (2, 1, 20.0),
        (0, 0, None),
        (1, 1, 20.0),
    ]


def book(sent: int = 1, arrived: int = 1, still_open: int = 0) -> dict[str, Books]:
    return {"ocr": Books(sent=sent, arrived=arrived, answered=arrived, refused=0, failed=0, open=still_open)}


def problems(outcomes: Sequence[Outcome], books: dict[str, Books]) -> list[str]:
    return problems_of([function_figures(TARGET, outcomes, 1.0)], books)


def test_a_run_is_good_when_every_request_was_answered_or_refused_with_a_reason() -> None:
    assert problems([outcome(), LATE, EXPIRED, refused()], book(sent=4, arrived=4)) == []


def test_a_lost_request_or_too_many_wrong_answers_fail_a_run() -> None:
    assert problems([outcome(), LOST], book()) == ["ocr: 1 requests had neither an answer nor a reason"]
    assert problems([outcome(), outcome(right=False)], book()) == [
        "ocr: 50.0% of the answers are right, wanted at least 90%"
    ]
    assert problems([refused()], book()) == ["ocr: nothing was answered"]


def test_an_expired_request_is_lost_only_if_no_gateway_knows_its_end() -> None:
    expired = counts_of([EXPIRED, EXPIRED], 100.0)
    assert unaccounted(expired, book(sent=9, arrived=9)["ocr"]) == 0
    assert unaccounted(expired, book(sent=9, arrived=10)["ocr"]) == 0  # a client sends again when in doubt
    assert unaccounted(expired, book(sent=9, arrived=8)["ocr"]) == 1
    assert unaccounted(expired, book(sent=9, arrived=9, still_open=3)["ocr"]) == 2
    assert problems([outcome(), EXPIRED], {}) == ["ocr: of 1 requests past their deadline no gateway knows the end"]


@given(st.lists(st.integers(0, 1000), min_size=1), st.integers(1, 100))
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(values: list[int], percent: int) -> None:
    ordered = sorted(values)
    found = percentile(ordered, percent)
    assert found is not None
    assert sum(value <= found for value in ordered) * 100 >= percent * len(ordered)
    assert sum(value < found for value in ordered) * 100 < percent * len(ordered)


def test_a_disturbed_run_says_so() -> None:
    on_time, held_up = Latency(0.1, 0.2, 0.3, 0.4), Latency(0.1, 0.2, 900.0, 950.0)
    assert notes_on(CoresBusy(1.5, 1.4), [], on_time, 0) == []
    assert notes_on(None, [], on_time, 0) == []
    (others,) = notes_on(CoresBusy(1.9, 1.2), [], on_time, 0)
    assert "others used 0.70 cores" in others
    (late,) = notes_on(CoresBusy(1.0, 1.0), [], held_up, 0)
    assert "up to 0.9 s late" in late
    (still,) = notes_on(CoresBusy(1.0, 1.0), [], on_time, 14_000_000)
    assert "stood still for 14.0 s" in still


def test_the_load_waits_for_a_machine_that_stands_still() -> None:
    clock_us = 1_000_000
    pace = Pace(500_000, lambda: clock_us)
    assert pace.now_us() == -500_000
    clock_us = 2_500_000
    assert pace.lateness_us(900_000) == 100_000
    clock_us = 20_000_000
    assert pace.lateness_us(1_100_000) == 0
    assert pace.now_us() == 1_100_000
    assert pace.stood_still_us == 17_400_000
    clock_us = 20_300_000
    assert pace.lateness_us(1_200_000) == 200_000


def test_cores_busy_is_the_slope_between_the_samples_of_a_span() -> None:
    core_time = CoreTime()
    for second in range(5):
        core_time.add(second * 1_000_000, by_all_s=10 + 1.5 * second, by_us_s=0.5 * second)
    assert core_time.cores_busy(1_000_000, 3_000_000) == CoresBusy(1.5, 0.5)
    assert core_time.cores_busy(3_500_000, 4_200_000) is None
