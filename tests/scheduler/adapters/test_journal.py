"""A journal on disk: read back whole, read up to a tear, kept within its bound, and never in the core's way."""

import struct
import zlib
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
from fastgshare.scheduler.core.commands import AnswerWish, Command, Decision, PlaceReplica
from fastgshare.scheduler.core.events import Event, NodeSeen, Ticked
from fastgshare.scheduler.core.replay import Entry
from fastgshare.scheduler.core.scheduler import Scheduler
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.ids import NodeId
from fastgshare.shared.units import BYTES_PER_MIB
from tests.scheduler import stories
from tests.scheduler.core.world import World


def told_of(world: World) -> list[Command]:
    """The decisions that are shown: answers to wishes are not."""
    return [decided for decided in world.commands if not isinstance(decided, AnswerWish)]


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
    for line, decided in zip(lines, told_of(world), strict=True):
        assert command.words_of(decided) in line
        if isinstance(decided, PlaceReplica):
            assert decided.reason in line


def test_where_there_is_no_journal_it_is_said_whichever_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.journal").mkdir()  # a directory is no segment
    for place in (tmp_path, tmp_path / "one.journal", tmp_path / "nothing"):
        for options in ([], ["--show", "3"]):
            assert command.main([str(place), *options]) == command.UNREADABLE
            assert capsys.readouterr() == ("", f"{place}: no journal there\n")


async def test_a_journal_that_tells_nothing_says_so(
    tmp_path: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = await kept(tmp_path, world)
    path.write_bytes(path.read_bytes()[:-1])  # its entries are one chunk
    assert command.main([str(path), "--show", "3"]) == command.SAME
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"{path}: torn at byte" in shown.err
    assert "nothing was decided in what could be read of 1 segment" in shown.err


async def test_what_cannot_be_read_costs_nothing_that_stands_before_it(
    tmp_path: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = await kept(tmp_path, world)
    lived = stories.entries(world.journal)
    with path.open("wb") as file:
        writer = SegmentWriter(file)
        writer.begin(record_of(beginning(Scheduler(Settings()), "one", (0, 0), gap=True)))
        for entry in lived:
            writer.write(record_of(entry))
        writer.write((3).to_bytes(4, "big") + b"\xc1\xc1\xc1")
        writer.write(record_of(lived[0]))
    assert command.main([str(path), "--show", "1000"]) == command.UNREADABLE
    shown = capsys.readouterr()
    first, *lines = shown.out.splitlines()
    assert command.GAP in first
    assert len(lines) == len(told_of(world))
    assert shown.err.startswith(f"{path}: an entry cannot be read: ")
    assert shown.err.count(str(path)) == 1
    assert command.main([str(path)]) == command.UNREADABLE
    assert capsys.readouterr().out.count(str(path)) == 1


def chunk(piece: bytes) -> bytes:
    return struct.pack(">II", len(piece), zlib.crc32(piece)) + piece


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        (b"\xff\xff\xff\xff\0\0\0\0", "torn at byte 21"),
        (b"\xff\xff\xff", "torn at byte 21"),
        (chunk(b"no deflate stream"), "it cannot be read: Error -3"),
        (chunk(zlib.compress(b"\xff\xff\xff\xff")), "a record of 4294967295 bytes, expected at most"),
        (chunk(zlib.compress(b"")), "it ends before its beginning"),
        (chunk(zlib.compress(b"\0\0\0\x01\xc1")), "its beginning cannot be read"),
    ],
)
def test_no_bytes_end_in_anything_but_a_reason(
    tmp_path: Path, chunks: bytes, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "one.journal"
    path.write_bytes(MAGIC + chunks)
    for options in ([], ["--show", "3"]):
        assert command.main([str(path), *options]) == command.UNREADABLE
        told = capsys.readouterr()
        assert f"{path}: {words}" in told.out + told.err


def test_a_small_file_that_stands_for_a_large_stream_is_read_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "one.journal"
    bomb = struct.pack(">I", 200 * BYTES_PER_MIB) + bytes(300 * BYTES_PER_MIB)
    path.write_bytes(MAGIC + chunk(zlib.compress(bomb, 1)))
    with pytest.raises(JournalInvalid, match="its beginning cannot be read"):
        Segment(path)


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "one.journal"
    with pytest.raises(JournalInvalid, match=r"it cannot be read: .*No such file"):
        Segment(path)


async def test_that_other_code_wrote_it_is_told_though_nothing_differs(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await kept(tmp_path, world)
    monkeypatch.setattr(command, "code_digest", lambda: "another")
    assert command.main([str(tmp_path)]) == command.SAME
    assert "the same again (written by other code: " in capsys.readouterr().out


async def test_an_interrupted_replay_ends_without_a_traceback(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kept(tmp_path, world)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "replay", interrupted)
    assert command.main([str(tmp_path)]) == command.INTERRUPTED


async def test_a_full_disk_does_not_stand_in_the_way_of_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(Scheduler(Settings()), tmp_path, "one", BYTES_PER_MIB)
    journal._segment = SegmentWriter(Path("/dev/full").open("wb"))  # noqa: ASYNC230, SIM115 (its first line waits)
    await journal.close()
    assert "its end is not written" in caplog.text


async def test_the_last_decisions_are_shown_over_runs_and_instances(
    tmp_path: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    for root in (tmp_path, tmp_path, tmp_path / "another"):
        await kept(root, world)
    assert command.main([str(tmp_path), "--show", "3"]) == command.SAME
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert command.main([str(tmp_path / "one"), "--show", "100000"]) == command.SAME
    assert len(capsys.readouterr().out.splitlines()) == 2 * len(told_of(world))


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
