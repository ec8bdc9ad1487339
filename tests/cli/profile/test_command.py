"""`fastgshare profile` as people meet it: what it prints where, its files, and its exit status."""

import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
import pytest
from msgspec.structs import replace
from nats.aio.msg import Msg
from typer.testing import CliRunner, Result

from fastgshare.cli.app import app
from fastgshare.client import profiling
from fastgshare.client.tablefiles import CSV, JSON, read_table, write_table
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.leases import Lease
from fastgshare.shared.messages import FunctionSpec, ModelRef, Profile, ProfileProgress, ProfileRequest, ProfileState
from fastgshare.shared.storage import ensure_storage
from tests.client.tables import DIGEST, KIND, table
from tests.natsd import Natsd

NAME = FunctionName("echo")
DONE = ProfileProgress(function=NAME, done=18, planned=18, state=ProfileState.COMPLETE)


@pytest.fixture(autouse=True)
def _nothing_runs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs on this machine is none of these tests' business."""
    monkeypatch.setenv("FASTGSHARE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("FASTGSHARE_NATS_URL", "nats://127.0.0.1:1")


@dataclass
class Platform:
    """A function `echo` with an objective of 100 ms, and a profiler that answers with `progress`."""

    url: str
    bus: Bus
    progress: ProfileProgress = DONE
    asked: list[ProfileRequest] = field(default_factory=list)
    on_asked: Callable[[], Awaitable[None]] | None = None

    @property
    def tables(self) -> Bucket[Profile]:
        return Bucket(self.bus, subjects.PROFILES, Profile)

    async def hold(self, *tables: Profile) -> None:
        for one in tables:
            await self.tables.put(subjects.profile_key(one.model_digest, one.device_kind), one)

    def command(self, *words: str | Path) -> list[str]:
        return [sys.executable, "-m", "fastgshare.cli", "profile", *map(str, words), "--url", self.url]

    async def run(self, *words: str | Path) -> Result:
        """The command in a thread: it runs an event loop of its own, and a process would import everything anew."""
        command = ["profile", NAME, *map(str, words), "--url", self.url]
        return await anyio.to_thread.run_sync(lambda: CliRunner().invoke(app, command))


@asynccontextmanager
async def platform(nats: Natsd, *tables: Profile) -> AsyncGenerator[Platform]:
    async with open_bus(BusConfig(url=nats.url, name="test")) as bus:
        await ensure_storage(bus)
        here = Platform(nats.url, bus)

        async def on_request(msg: Msg) -> None:
            here.asked.append(decode(ProfileRequest, msg.data))
            if here.on_asked is not None:
                await here.on_asked()
            await bus.publish(msg.reply, encode(here.progress))

        await bus.subscribe(subjects.profile(NAME), on_request)
        await bus.connection.flush()
        model = ModelRef(digest=DIGEST, size_bytes=1, source="resnet.onnx")
        spec = FunctionSpec(name=NAME, model=model, slo_ms=100.0)
        await Bucket(bus, subjects.FUNCTIONS, FunctionSpec).put(NAME, spec)
        await here.hold(*tables)
        yield here


def last_line(done: Result) -> str:
    return done.stderr.splitlines()[-1]


def rows(done: Result) -> list[list[str]]:
    words = [line.split() for line in done.stdout.splitlines()]
    return [line for line in words if line and line[0].isdecimal() and line[-1] in ("yes", "no", "unsettled")]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--budget", "-1"], "--budget is -1, expected up to 1e+06 seconds, 0 for no bound"),
        (["--budget", "inf"], "--budget is inf, expected up to 1e+06 seconds, 0 for no bound"),
        (["--export", "a.csv", "--import", "b.csv"], "give either --export or --import"),
        (["--export", "a.csv", "--drop"], "give either --export or --drop"),
        (["--export", "no/a.csv"], "no/a.csv: cannot write it: there is no directory no"),
        (["--png", "no/a.png"], "no/a.png: cannot write it: there is no directory no"),
        (["--png", "a.jpg"], "a.jpg: expected a name that ends in .png"),
        (["--now", "--grid"], "--now measures nothing, and --grid says how to: give one of them"),
        (["--now", "--again"], "--now measures nothing, and --again says how to: give one of them"),
        (["--batch", "4"], "--batch says what to draw: give --plot or --png as well"),
        (["--export", "a.xlsx"], "a.xlsx: expected a name that ends in .csv or .json"),
        (["--import", "a"], "a: expected a name that ends in .csv or .json"),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_is_asked(words: Sequence[str], problem: str) -> None:
    done = CliRunner().invoke(app, ["profile", "echo", *words])
    assert (done.exit_code, done.stderr) == (2, f"fastgshare: {problem}\n")


def test_a_picture_without_matplotlib_is_refused_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = CliRunner().invoke(app, ["profile", "echo", "--png", "a.png"])
    assert done.exit_code == 2
    assert "pip install 'fastgshare-cli[plot]'" in done.stderr


async def test_a_profile_shows_and_saves_its_table(nats: Natsd, tmp_path: Path) -> None:
    async with platform(nats, table()) as here:
        done = await here.run("--again", "--grid", "--budget", "30", "--save", tmp_path / "tables")
        assert done.exit_code == 0, done.stderr
        assert here.asked == [ProfileRequest(function=NAME, again=True, grid=True, budget_s=30.0)]
        assert len(rows(done)) == 20
        assert f"{KIND}: complete; 18 of 60 points measured" in done.stdout
        (saved,) = (tmp_path / "tables").iterdir()
        assert saved.name == f"{subjects.profile_key(DIGEST, KIND)}.json"
        assert msgspec.json.decode(saved.read_bytes(), type=Profile) == table()


async def test_all_points_and_tables_of_one_kind_can_be_asked_for(nats: Natsd) -> None:
    async with platform(nats, table(), table(device_kind="cpu", points=table().points[:2], surface=())) as here:
        assert len(rows(await here.run("--all"))) == 62
        assert len(rows(await here.run("--all", "--kind", "cpu"))) == 2
        wrong = await here.run("--now", "--kind", "gpu")
        assert (wrong.exit_code, last_line(wrong)) == (
            2,
            f"fastgshare: no table of 'echo' on gpu, expected one of {KIND}, cpu",
        )


async def test_a_kind_that_nobody_has_is_told_before_anything_is_measured(nats: Natsd) -> None:
    async with platform(nats, table()) as here:
        wrong = await here.run("--kind", "gpu")
        told = f"fastgshare: no table of 'echo' and no device here is of kind gpu (there: {KIND})"
        assert (wrong.exit_code, last_line(wrong), here.asked) == (2, told, [])
        assert (await here.run("--kind", KIND)).exit_code == 0


async def test_a_function_that_is_deleted_meanwhile_ends_the_command_with_that(nats: Natsd) -> None:
    async with platform(nats, table()) as here:
        here.progress = replace(DONE, state=ProfileState.FAILED, reason="the function was deleted")
        here.on_asked = lambda: Bucket(here.bus, subjects.FUNCTIONS, FunctionSpec).delete(NAME)
        done = await here.run("--again")
        assert (done.exit_code, last_line(done)) == (1, "fastgshare: function 'echo' was deleted")
        assert "no function" not in done.stderr


async def test_a_table_is_removed_with_what_happens_then(nats: Natsd) -> None:
    async with platform(nats, table(), table(device_kind="cpu", points=table().points[:1])) as here:
        which = await here.run("--drop")
        assert which.exit_code == 2
        assert last_line(which).endswith("choose one with --kind")
        spec = FunctionSpec(name=FunctionName("twin"), model=ModelRef(digest=DIGEST, size_bytes=1), slo_ms=1.0)
        await Bucket(here.bus, subjects.FUNCTIONS, FunctionSpec).put("twin", spec)
        done = await here.run("--drop", "--kind", "cpu")
        assert done.exit_code == 0, done.stderr
        assert done.stderr.splitlines() == [
            "table of 'echo' on cpu removed: 1 measured point, version 19",
            "it was that of twin too, of the same model",
            "no device here is a cpu now: the profiler measures it anew by itself when one is",
        ]
        assert [one.device_kind for one in (await here.tables.list()).values()] == [KIND]
        assert (await here.run("--drop")).exit_code == 0
        nothing = await here.run("--drop")
        assert nothing.exit_code == 1
        assert "no table of 'echo' yet" in last_line(nothing)


async def test_a_table_that_is_being_measured_is_not_removed(nats: Natsd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "IMPORT_WAIT_S", 0.3)
    async with platform(nats, table()) as here:
        lease = Lease(here.bus, subjects.profile_lease(subjects.profile_key(DIGEST, KIND)), "profiler-1")
        assert await lease.acquire()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lease.hold)
            done = await here.run("--drop")
            tasks.cancel_scope.cancel()
        assert done.exit_code == 1
        assert last_line(done).endswith("try again when that is done")
        assert list((await here.tables.list()).values()) == [table()]


async def test_a_failed_table_shows_its_reason_and_what_was_measured(nats: Natsd) -> None:
    failed = table(state=ProfileState.FAILED, reason="the device was lost", surface=(), points=table().points[:3])
    async with platform(nats, failed) as here:
        here.progress = replace(DONE, state=ProfileState.FAILED, reason="the device was lost")
        done = await here.run("--all")
        assert done.exit_code == 1
        assert len(rows(done)) == 3
        assert (done.stdout + done.stderr).count("the device was lost") == 1
        assert last_line(done) == (
            "fastgshare: refused (unavailable): no complete profile of 'echo'; "
            "once that is mended, `fastgshare profile echo` measures it again"
        )
        assert (await here.run("--now")).exit_code == 1


async def test_why_nothing_was_measured_is_told_where_no_table_tells_it(nats: Natsd) -> None:
    async with platform(nats) as here:
        here.progress = replace(DONE, state=ProfileState.FAILED, reason="no device is there")
        done = await here.run()
        assert done.exit_code == 1
        assert (done.stdout + done.stderr).count("no device is there") == 1
        assert "of 'echo': no device is there; once that is mended" in last_line(done)


async def test_what_stands_is_shown_without_asking_anybody(nats: Natsd) -> None:
    async with platform(nats) as here:
        nothing = await here.run("--now")
        assert nothing.exit_code == 1
        assert "no table of 'echo' yet: `fastgshare profile echo` measures it" in last_line(nothing)
        await here.hold(table(state=ProfileState.MEASURING))
        done = await here.run("--now")
        assert (done.exit_code, len(rows(done)), here.asked) == (0, 20, [])
        assert f"{KIND}: still being measured" in done.stdout


@pytest.mark.usefixtures("hears_ctrl_c")
async def test_ctrl_c_leaves_the_profiler_working_and_says_so(nats: Natsd) -> None:
    async with platform(nats) as here:
        here.progress = replace(DONE, done=3, state=ProfileState.MEASURING, reason="waits for a slice")
        async with await anyio.open_process(here.command(NAME)) as process:
            assert process.stderr is not None
            heard = b""
            while b"waits for a slice" not in heard:
                heard += await process.stderr.receive()
            while process.returncode is None:  # pressed until it is heard, as one does
                process.send_signal(signal.SIGINT)
                with anyio.move_on_after(5.0):
                    async for chunk in process.stderr:
                        heard += chunk
                    await process.wait()
            assert process.returncode == 130
        assert heard.decode().splitlines()[-1] == "the profiler goes on; `fastgshare profile echo` follows it again"


async def test_whoever_has_read_enough_sees_no_traceback(nats: Natsd) -> None:
    async with platform(nats, table()) as here:
        reader, writer = os.pipe()
        os.close(reader)
        try:
            command = here.command(NAME, "--now", "--all")
            done = await anyio.run_process(command, stdout=writer, check=False)
        finally:
            os.close(writer)
        assert (done.returncode, done.stderr) == (1, b"")


async def test_maps_and_pictures_are_drawn(nats: Natsd, tmp_path: Path) -> None:
    async with platform(nats, table()) as here:
        done = await here.run("--plot", "--batch", "4", "--png", tmp_path / "echo.png")
        assert done.exit_code == 0, done.stderr
        assert "batch 4; --batch picks another of 1, 4, 8" in done.stdout
        assert "p99 latency, ms by quota and share of SMs" in done.stdout
        assert (tmp_path / "echo.png").read_bytes().startswith(b"\x89PNG")
        wrong = await here.run("--plot", "--batch", "5")
        assert (wrong.exit_code, last_line(wrong)) == (2, "fastgshare: --batch is 5, the table has 1, 4, 8")


@pytest.mark.parametrize("suffix", [CSV, JSON])
async def test_a_table_goes_out_to_a_file_and_comes_back_in(nats: Natsd, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"h200{suffix}"
    async with platform(nats, table()) as here:
        done = await here.run("--export", file)
        assert (done.exit_code, done.stdout, here.asked) == (0, "", [])
        assert read_table(file.read_bytes(), suffix).profile == table()
        taken = await here.run("--import", file)
        assert taken.exit_code == 0, taken.stderr
        assert f"table of 'echo' on {KIND} stored: 18 measured points, version 20" in taken.stderr
        assert last_line(taken) == f"no device here is a {KIND} now (there: none); the table waits for one"
        (stored,) = (await here.tables.list()).values()
        assert stored.source.startswith(f"imported from h200{suffix} on 20")
        assert replace(stored, source="", table_version=19) == table()


async def test_tables_of_several_kinds_go_out_one_by_one(nats: Natsd, tmp_path: Path) -> None:
    async with platform(nats, table(), table(device_kind="cpu")) as here:
        done = await here.run("--export", tmp_path / "a.csv")
        assert done.exit_code == 2
        assert "tables of several kinds of device" in last_line(done)
        assert (await here.run("--export", tmp_path / "a.csv", "--kind", "cpu")).exit_code == 0
        assert read_table((tmp_path / "a.csv").read_bytes(), CSV).profile.device_kind == "cpu"


async def test_a_file_made_elsewhere_is_taken_in_under_the_kind_that_is_named(nats: Natsd, tmp_path: Path) -> None:
    file = tmp_path / "published.csv"
    file.write_text("model,sm_pct,quota,rps\nbert,50,0.5,20\nbert,100,0.5,30\nrnnt,50,0.5,3\n")
    async with platform(nats) as here:
        unnamed = await here.run("--import", file, "--model", "bert")
        assert unnamed.exit_code == 2
        assert last_line(unnamed).endswith("name one with --kind")
        done = await here.run("--import", file, "--model", "bert", "--kind", "Tesla V100")
        assert done.exit_code == 0, done.stderr
        told = done.stderr
        assert f"{file}: 2 of 3 rows are of bert\n" in told
        assert f"{file}: it does not tell the model it was measured with; taken to be that of 'echo'\n" in told
        (stored,) = (await here.tables.list()).values()
        assert (stored.device_kind, stored.state, len(stored.points)) == ("Tesla V100", ProfileState.COMPLETE, 2)


async def test_nothing_is_stored_when_anything_is_wrong(nats: Natsd, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("sm_pct,quota,rps\n50,0.5,20\n60,-0.5,20\n")
    async with platform(nats) as here:
        done = await here.run("--import", file, "--kind", "cpu")
        assert (done.exit_code, done.stderr) == (
            2,
            f"fastgshare: {file}: line 3, column quota: -0.5 is not a number above 0 and at most 1\n",
        )
        missing = await here.run("--import", tmp_path / "no.csv")
        assert (missing.exit_code, last_line(missing)) == (
            2,
            f"fastgshare: {tmp_path / 'no.csv'}: cannot read it: No such file or directory",
        )
        assert await here.tables.list() == {}


async def test_another_model_or_kind_is_refused_unless_forced(nats: Natsd, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(write_table(table(model_digest="b2" * 32), JSON))
    async with platform(nats) as here:
        model = await here.run("--import", file)
        assert model.exit_code == 2
        assert last_line(model).endswith(
            f"the table is of model {'b2' * 32}, expected {DIGEST}; --force takes it all the same"
        )
        kind = await here.run("--import", file, "--kind", "cpu")
        assert kind.exit_code == 2
        assert f"it was measured on {KIND}, not on cpu" in last_line(kind)
        assert await here.tables.list() == {}
        assert (await here.run("--import", file, "--kind", "cpu", "--force")).exit_code == 0
        (stored,) = (await here.tables.list()).values()
        assert (stored.model_digest, stored.device_kind) == (DIGEST, "cpu")


async def test_a_table_that_is_being_measured_is_left_alone(
    nats: Natsd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "IMPORT_WAIT_S", 0.3)
    file = tmp_path / "a.json"
    file.write_bytes(write_table(table(), JSON))
    async with platform(nats) as here:
        lease = Lease(here.bus, subjects.profile_lease(subjects.profile_key(DIGEST, KIND)), "profiler-1")
        assert await lease.acquire()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lease.hold)
            done = await here.run("--import", file)
            tasks.cancel_scope.cancel()
        assert done.exit_code == 1
        assert last_line(done).startswith(f"fastgshare: profiler profiler-1 is measuring 'echo' on {KIND}: ")
        assert await here.tables.list() == {}
