"""Entries replay to what they say, and the first that does not is told."""

from msgspec.structs import replace

from fastgshare.scheduler.core.commands import Decision, Report
from fastgshare.scheduler.core.events import NodeSeen
from fastgshare.scheduler.core.replay import Entry, replay
from fastgshare.scheduler.core.scheduler import Scheduler
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.ids import FunctionName, NodeId
from tests.scheduler import stories


def test_a_life_that_was_stored_replays_to_the_same_decisions() -> None:
    world = stories.early()
    stories.late(world)
    lived = stories.entries(world.journal)
    stored = [decode(type(entry), encode(entry)) for entry in lived]
    replayed = replay(Scheduler(Settings()), stored)
    assert replayed.difference is None
    assert (replayed.entries, replayed.commands) == (len(lived), len(world.commands))


def test_the_first_difference_is_told_with_its_event() -> None:
    world = stories.early()
    lived = stories.entries(world.journal)
    at = next(index for index, entry in enumerate(lived) if entry.decision.commands)
    other = Report("invented", FunctionName("f"), "by somebody else")
    commands = (other, *lived[at].decision.commands[1:])
    lived[at] = replace(lived[at], decision=replace(lived[at].decision, commands=commands))
    difference = replay(Scheduler(Settings()), lived).difference
    assert difference is not None
    assert (difference.after, difference.entry) == (at, lived[at])
    assert "invented" in str(difference)
    assert type(lived[at].event).__name__ in str(difference)


def test_a_command_too_few_and_another_time_to_tick_are_differences() -> None:
    lived = stories.entries(stories.early().journal)
    at = next(index for index, entry in enumerate(lived) if entry.decision.commands)
    for changed in (Decision((), lived[at].decision.wake_at_us), replace(lived[at].decision, wake_at_us=1)):
        told = [*lived[:at], replace(lived[at], decision=changed), *lived[at + 1 :]]
        difference = replay(Scheduler(Settings()), told).difference
        assert difference is not None
        assert str(difference)


def test_other_settings_show_as_a_difference() -> None:
    world = stories.early()
    stories.late(world)
    replayed = replay(Scheduler(Settings(headroom=2.0)), stories.entries(world.journal))
    assert replayed.difference is not None


def test_an_entry_on_which_the_core_fails_is_told() -> None:
    lived = stories.entries(stories.early().journal)
    fatal = NodeSeen(NodeId("a"), "i1", (), interval_us="soon")  # type: ignore[arg-type]
    replayed = replay(Scheduler(Settings()), [*lived[:3], Entry(lived[3].now_us, fatal, Decision())])
    assert replayed.difference is None
    assert replayed.crash is not None
    assert (replayed.crash.after, replayed.entries) == (3, 4)
    assert "TypeError" in str(replayed.crash)
