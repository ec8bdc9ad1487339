"""The demo's report: what a person reads, from figures to Markdown and terminal."""

import io

import msgspec
import pytest
from msgspec.structs import replace
from rich.console import Console

from examples.demo.figures import Books, CoresBusy, Latency, Objective, Stage, Summary, Target, Verdict
from examples.demo.plan import Phase
from examples.demo.plot import bars
from examples.demo.profiled import why_it_ends
from examples.demo.render import markdown, show
from examples.demo.screen import LiveView, PlainScreen, TerminalScreen, line_of, picture_of, screen_for
from examples.demo.sections import sections, verdict
from examples.demo.summary import door_figures, function_figures, objectives_of, phase_figures, timeline
from examples.demo.tally import Ending, Outcome, Tally
from examples.demo.wording import ms, share
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, HostId, NodeId, ReplicaId
from fastgshare.shared.messages import (
    Profile,
    ProfileAxes,
    ProfilePoint,
    ProfileProgress,
    ProfileState,
    ReplicaState,
    ReplicaStatus,
)

PHASES = (Phase("calm", 4, 0.3, 0.3, {"ocr": 1}), Phase("burst", 2, 1.3, 1.3, {"ocr": 1}))
TARGET = Target("ocr", objective_ms=100.0, percentile=99.0, least_accuracy=0.5)
SECONDS = 6.0
MET = Verdict(1.0, True)


def outcomes() -> list[Outcome]:
    """An answer each second, a wrong one and a refusal."""
    answers = [
        Outcome(
            function="ocr",
            phase=int(second >= 4),
            door="http" if second == 5 else "nats",
            due_us=second * 1_000_000,
            lag_us=100,
            latency_us=20_000 * (second + 1),
            ending=Ending.ANSWERED,
            right=second != 1,
            example="a | b",
            expected="a | b",
            got="a | b" if second != 1 else "a l b",
            replica="ocr-1",
            execute_us=15_000,
            batch=1,
        )
        for second in range(5)
    ]
    refusal = replace(answers[0], due_us=5_000_000, phase=1, ending=Ending.REFUSED, right=None, batch=0)
    return [*answers, replace(refusal, code="overloaded", reason="would answer 7 ms after the deadline")]


def summary() -> Summary:
    ended = outcomes()
    phases = phase_figures(PHASES, [TARGET], ended, SECONDS, lambda begin_us, end_us: CoresBusy(1.5, 1.0))
    point = ProfilePoint(
        sm_partition=50,
        quota=1.0,
        batch=1,
        throughput_rps=48.0,
        p50_us=20_000,
        p95_us=0,
        p99_us=0,
        device_us=20_000,
        runs=9,
    )
    return Summary(
        began_at="2026-01-01T00:00:00+00:00",
        seed=1,
        load_seconds=SECONDS,
        problems=[],
        notes=[],
        functions=[function_figures(TARGET, ended, SECONDS)],
        objectives=objectives_of([TARGET], phases),
        phases=phases,
        doors=door_figures([TARGET], ended),
        timeline={"ocr": timeline(TARGET, ended, SECONDS)},
        lag_ms=Latency(0.1, 0.1, 0.1, 0.1),
        books={"ocr": Books(sent=6, arrived=6, answered=5, refused=1, failed=0, open=0)},
        replicas=[
            ReplicaStatus(
                replica=ReplicaId("ocr-1"),
                function=FunctionName("ocr"),
                generation=1,
                node=NodeId("local"),
                device=DeviceId("local-cpu0"),
                host=HostId("h"),
                incarnation="i",
                state=ReplicaState.READY,
                device_kind="cpu",
                model_digest=Digest("d"),
                chunks=(1,),
                max_batch=4,
                memory_mib=61.0,
            )
        ],
        profiles={
            "ocr": Profile(model_digest=Digest("d"), device_kind="cpu", state=ProfileState.COMPLETE, points=(point,))
        },
        first_answers=["ocr: a line is 'a line'"],
        stages=[Stage("start", 1.0), Stage("load", 6.0)],
        machine={"cores": 2},
        memory_mib={"local-gateway": 50.0, "local-cpu0": 250.0},
    )


def test_the_verdict_says_what_became_of_all_requests() -> None:
    assert verdict(summary()) == (
        "OK: nothing lost, 80.0% of the answers right; objectives met below capacity: ocr yes; with the overload: "
        "ocr no. 6 requests in 6 s: 5 answered in time, 1 refused with a reason."
    )
    easy = replace(summary(), objectives={"ocr": Objective(overall=Verdict(1.0, True), below_capacity=MET)})
    assert "; every objective met. 6 requests" in verdict(easy)
    assert verdict(replace(summary(), problems=["ocr: nothing was answered"])) == (
        "FAILED, 6 requests in 6 s: ocr: nothing was answered."
    )


def test_the_markdown_has_every_section_and_whole_tables() -> None:
    text = markdown("Demo", ["OK"], sections(summary()))
    for section in sections(summary()):
        assert f"\n## {section.title}\n" in text
    for block in text.split("\n\n"):
        if block.startswith("|"):
            widths = {line.replace("\\|", "").count("|") for line in block.splitlines()}
            assert len(widths) == 1, block
    assert "a \\| b: 'a l b'" in text
    assert "would answer 7 ms after the deadline" in text
    assert "1.50 | 1.00" in text
    assert "| objective met | no (83.3% in time of 99%) |" in text
    assert "| met below capacity | yes (100% in time of 99%) |" in text
    assert "| gateway | would answer 7 ms after the deadline |" in text
    assert "load void, disturbed: others used 0.5 cores" in text
    assert "| 2: 50.0%, 1 refused |" in text
    assert "| batch 1: 5 |" in text
    assert "| worker local-cpu0 | 250 | 61 |" in text
    assert "| local-gateway | 50 | - |" in text
    assert "\n\nocr: nothing above 1 of at most 4 was measured" in text


def test_a_run_in_which_nothing_was_answered_can_be_told_too() -> None:
    refusals = [ended for ended in outcomes() if ended.ending is Ending.REFUSED]
    empty = replace(
        summary(),
        functions=[function_figures(TARGET, refusals, SECONDS)],
        doors=door_figures([TARGET], []),
        timeline={"ocr": timeline(TARGET, [], SECONDS)},
        problems=["ocr: nothing was answered"],
    )
    assert "| answered a second | 0.0 |" in markdown("Demo", [verdict(empty)], sections(empty))


def test_the_figures_survive_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(summary()), type=Summary) == summary()


def test_the_terminal_shows_the_brief_sections_only() -> None:
    console = Console(file=io.StringIO(), width=118)
    show(console, sections(summary()))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "Requests" in shown
    assert "Who ran where" in shown
    assert "The gateways' books" not in shown


def test_bars_rise_to_the_objective_and_mark_what_is_above() -> None:
    assert bars([0.0, 50.0, 99.9, 100.0, 101.0, None], 100.0) == "▁▅██▒·"


def test_numbers_are_never_rounded_up_to_all() -> None:
    assert (share(1.0), share(0.9999), share(0.5), share(None)) == ("100%", "99.9%", "50.0%", "-")
    assert (ms(0.24), ms(99.96), ms(345.6), ms(None)) == ("0.2", "100.0", "346", "-")


def view() -> LiveView:
    tally = Tally({"ocr": 100_000})
    for ended in outcomes():
        tally.add(ended)
    return LiveView(
        elapsed_s=5.5,
        total_s=SECONDS,
        phase="burst",
        level=1.3,
        rows=tally.live(5_500_000, {"ocr": 6}),
        objectives_ms={"ocr": 100.0},
        places={"ocr": "local-cpu0 1"},
    )


def test_the_live_view_says_the_same_as_a_picture_and_as_a_line() -> None:
    assert line_of(view()) == (
        "    6 s, burst at 130%; last 5 s: ocr 1/s p99 100 ms; so far: ocr 83.3% in time (0 late 0 expired 1 refused)"
    )
    console = Console(file=io.StringIO(), width=118)
    console.print(picture_of(view()))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "6 of 6 s   burst: 130% of what fits" in shown
    assert "local-cpu0 1" in shown
    for heading in ("last 5 s", "so far", "ended/s", "late", "expired", "refused"):
        assert heading in shown


def profile(*points: tuple[int, float, int], state: ProfileState = ProfileState.COMPLETE) -> Profile:
    """Points of batch, inputs a second and median in ms."""
    measured = tuple(
        ProfilePoint(
            sm_partition=50,
            quota=1.0,
            batch=batch,
            throughput_rps=rps,
            p50_us=p50_ms * 1000,
            p95_us=0,
            p99_us=0,
            device_us=0,
            runs=9,
        )
        for batch, rps, p50_ms in points
    )
    return Profile(model_digest=Digest("d"), device_kind="cpu", state=state, points=measured)


def test_a_profile_that_ends_early_says_why() -> None:
    whole = profile((1, 50.0, 20), (2, 90.0, 22))
    axes = ProfileAxes(sm_partitions=(50, 100), quotas=(0.2, 1.0), batches=(1, 2))

    assert why_it_ends(whole, 2, 100) == ""
    assert why_it_ends(profile(), 8, 100) == ""
    assert "longer than the objective, 100 ms" in why_it_ends(replace(whole, axes=axes), 8, 100)
    assert "not complete" in why_it_ends(profile((1, 50.0, 20), state=ProfileState.FAILED), 8, 100)
    assert why_it_ends(replace(whole, reason="its time is spent"), 2, 100) == "its time is spent"


@pytest.mark.parametrize("terminal", [True, False])
def test_both_screens_show_all_there_is_to_see(terminal: bool) -> None:
    file = io.StringIO()
    screen = screen_for(Console(file=file, force_terminal=terminal, width=118, _environ={}))
    assert isinstance(screen, TerminalScreen if terminal else PlainScreen)
    with screen.working("starting"):
        screen.say("platform ready")
    with screen.profiling(["ocr"]) as on_profile:
        for done, state in ((0, ProfileState.MEASURING), (3, ProfileState.COMPLETE)):
            on_profile(ProfileProgress(function="ocr", done=done, planned=3, state=state, left_ms=3000))
    with screen.load() as on_load:
        on_load(view())
    shown = file.getvalue()
    for told in ("platform ready", "3 points measured", "burst"):
        assert told in shown
