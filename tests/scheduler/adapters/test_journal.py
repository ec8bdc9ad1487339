"""A journal on disk: read back whole, read up to a tear, kept within its bound, and never in the core's way."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from fastgshare.scheduler import replay as command
from fastgshare.scheduler.adapters import journal as journal_module
from fastgshare.scheduler.adapters.journal import Journal, segments_under
from fastgshare.scheduler.adapters.journal_file import (
    MAGIC,
    JournalInvalid,
    Segment,
    SegmentWriter,
    beginning,
    record_of,
)
from fastgshare.scheduler.core.commands import Decision, PlaceReplica
from fastgshare.scheduler.core.events import Event, NodeSeen, Ticked
from fastgshare.scheduler.core.replay import Entry
from fastgshare.scheduler.core.scheduler import Scheduler
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.ids import NodeId
from fastgshare.shared.units import BYTES_PER_MIB
from tests.scheduler import stories
from tests.scheduler.core.world import World


async def kept(root: Path, world: World, pause_each: int = 0) -> list[Path]:
    """A journal of this world's life, decided anew, on disk; its segments."""
    core = Scheduler(Settings())
    journal = Journal(core, root, "one", BYTES_PER_MIB)
    journal.begin()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(journal.run)
        await anyio.lowlevel.checkpoint()
        for number, (now_us, event, _) in enumerate(world.journal, 1):
            journal.record(now_us, event, core.step(now_us, event))
            if pause_each and number % pause_each == 0:
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    return segments_under(root)


@pytest.fixture
def world() -> World:
    """A life that was lived."""
    world = stories.early()
    stories.late(world)
    return world


@contextmanager
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Written at every chance."""
    with monkeypatch.context() as changed:
        changed.setattr(journal_module, "FLUSH_S", 0.001)
        changed.setattr(journal_module, "AGAIN_S", 0.001)
        yield


async def test_what_was_stepped_through_is_read_back_and_decided_again(tmp_path: Path, world: World) -> None:
    (path,) = await kept(tmp_path, world)
    segment = Segment(path)
    assert list(segment.entries()) == stories.entries(world.journal)
    assert segment.torn == ""
    assert (segment.beginning.instance, segment.beginning.settings) == ("one", Settings())
    assert command.main([str(tmp_path)]) == command.SAME


async def test_a_segment_that_is_torn_is_read_up_to_the_tear(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with quick(monkeypatch):
        (path,) = await kept(tmp_path, world, pause_each=20)
    whole = path.read_bytes()
    lived = stories.entries(world.journal)
    read = []
    for size in range(len(MAGIC), len(whole), len(whole) // 50):
        path.write_bytes(whole[:size])
        try:
            segment = Segment(path)
            read.append(list(segment.entries()))
        except JournalInvalid as error:
            assert "torn" in str(error) or "ends before" in str(error)  # noqa: PT017
    assert all(entries == lived[: len(entries)] for entries in read)
    assert len({len(entries) for entries in read}) > 3
    path.write_bytes(whole[:-1])
    assert command.main([str(path)]) == command.SAME


async def test_bytes_that_changed_end_it_there(tmp_path: Path, world: World) -> None:
    (path,) = await kept(tmp_path, world)
    changed = bytearray(path.read_bytes())
    changed[-10] ^= 0xFF
    path.write_bytes(changed)
    segment = Segment(path)
    assert list(segment.entries()) == []
    assert "torn at byte" in segment.torn
    path.write_bytes(b"something else")
    with pytest.raises(JournalInvalid, match="does not start"):
        Segment(path)
    assert command.main([str(path)]) == command.UNREADABLE


async def test_old_segments_go_and_each_that_stays_replays_alone(
    tmp_path: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    bound, made = 50_000, 0
    for _ in range(3):  # three runs of one instance share the bound
        core = Scheduler(Settings())
        journal = Journal(core, tmp_path, "one", bound)
        journal.begin()
        for now_us, event, _ in world.journal:
            journal.record(now_us, event, core.step(now_us, event))
            await journal.tend()
        await journal.close()
        made += journal._segments
    paths = segments_under(tmp_path)
    assert sum(path.stat().st_size for path in paths) <= bound
    assert len(paths) > 3
    assert len(paths) < made
    assert command.main([str(tmp_path)]) == command.SAME
    assert capsys.readouterr().out.count("the same again") == len(paths)


async def test_a_disk_that_fails_costs_entries_and_the_next_segment_tells(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "file"
    root.write_text("where a directory should be")
    core = Scheduler(Settings())
    journal = Journal(core, root, "one", BYTES_PER_MIB)
    journal.begin()
    with quick(monkeypatch):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(journal.run)
            for now_us, event, _ in world.journal:
                journal.record(now_us, event, core.step(now_us, event))
                await anyio.sleep(0.0005)
            root.unlink()
            while not segments_under(root):
                journal.record(world.now_us, Ticked(), core.step(world.now_us, Ticked()))
                await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()
    (path,) = segments_under(root)
    assert Segment(path).beginning.gap
    assert command.main([str(root)]) == command.SAME


async def test_what_waits_for_a_disk_is_bounded(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "MAX_WAITING", 10_000)
    paths = await kept(tmp_path, world)
    assert Segment(paths[-1]).beginning.gap
    assert command.main([str(tmp_path)]) == command.SAME


async def test_decisions_are_shown_with_time_and_reason(
    tmp_path: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await kept(tmp_path, world)
    assert command.main([str(tmp_path), "--show", "1000"]) == command.SAME
    lines = capsys.readouterr().out.splitlines()
    for line, decided in zip(lines, world.commands, strict=True):
        assert command.words_of(decided) in line
        if isinstance(decided, PlaceReplica):
            assert decided.reason in line
    assert command.main([str(tmp_path / "nothing")]) == command.UNREADABLE


async def test_the_last_decisions_are_shown_over_runs_and_instances(
    tmp_path: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    for root in (tmp_path, tmp_path, tmp_path / "another"):
        await kept(root, world)
    assert command.main([str(tmp_path), "--show", "3"]) == command.SAME
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert command.main([str(tmp_path / "one"), "--show", "100000"]) == command.SAME
    assert len(capsys.readouterr().out.splitlines()) == 2 * len(world.commands)


async def test_runs_that_wrote_little_are_bounded_in_number(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MAX_FILES", 3)
    for _ in range(5):
        await kept(tmp_path, world)
    assert len(segments_under(tmp_path)) == 3
    assert len(list((tmp_path / "one").iterdir())) == 3


def test_a_life_that_ended_in_a_crash_is_told_and_the_other_segments_are_checked_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / "000001.journal", tmp_path / "000002.journal"]
    fatal = NodeSeen(NodeId("fatal"), "i1", (), 1)
    lives = (fatal, Decision()), (NodeSeen(NodeId("a"), "i1", (), 1), Decision((), 2_000_000))
    for path, (event, decision) in zip(paths, lives, strict=True):
        writer = SegmentWriter(path.open("xb"))
        writer.begin(record_of(beginning(Scheduler(Settings()), "s", (1, 1), False)))
        writer.write(record_of(Entry(5, event, decision)))
        writer.close()
    step = Scheduler.step

    def failing(core: Scheduler, now_us: int, event: Event) -> Decision:
        if event == fatal:
            raise KeyError("as then")
        return step(core, now_us, event)

    monkeypatch.setattr(Scheduler, "step", failing)
    assert command.check(paths) == command.CRASHED
    told = capsys.readouterr().out
    assert "the core fails with KeyError: 'as then'" in told
    assert f"{paths[1]}: 1 entries" in told
