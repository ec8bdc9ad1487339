"""The `fastgshare` command as people meet it: what it prints where, and its exit status."""

import importlib
import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner, Result

from fastgshare.cli.app import COMMANDS, app
from fastgshare.client.status import SERVICES
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, HostId, NodeId, ReplicaId
from fastgshare.shared.messages import (
    FunctionSpec,
    ReplicaState,
    ReplicaStatus,
    Signature,
    Slice,
)
from fastgshare.shared.storage import ensure_storage
from tests.client.fake_gateway import run_gateway
from tests.natsd import Natsd

pytestmark = pytest.mark.timeout(300)  # each command is a process of its own, which may take seconds to start
NODE = NodeId("node-a")
REPLICA = ReplicaId("echo-g1-abc123")
STREAM = f"KV_{subjects.REPLICAS}"


@pytest.fixture(autouse=True)
def _nothing_runs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs on this machine is none of these tests' business."""
    monkeypatch.setenv("FASTGSHARE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("FASTGSHARE_NATS_URL", "nats://127.0.0.1:1")


@pytest.fixture
def definition(tmp_path: Path) -> Path:
    (tmp_path / "echo.onnx").write_bytes(b"not looked into here")
    path = tmp_path / "echo.yaml"
    path.write_text("name: echo\nmodel: {file: echo.onnx}\n")
    return path


def run(*words: str | Path, given: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], input=given)


async def fastgshare(url: str, *words: str | Path, given: str = "") -> Result:
    """The command in a thread: it runs an event loop of its own, and a process would import everything anew."""
    return await anyio.to_thread.run_sync(lambda: run(*words, "--url", url, given=given))


def test_every_command_is_listed_and_explains_itself() -> None:
    listed = run("--help")
    assert listed.exit_code == 0
    for name in COMMANDS:
        assert f" {name} " in listed.stdout
        assert run(name, "--help").exit_code == 0


def test_starting_the_command_imports_none_of_the_commands() -> None:
    heavy = ["nats", "numpy", "rich.table", "yaml", "fastgshare.client.connection", "fastgshare.cli.up.command"]
    script = f"import sys, fastgshare.cli.__main__; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_version_is_told() -> None:
    assert run("--version").stdout.strip() == importlib.metadata.version("fastgshare-cli")


@pytest.mark.parametrize(
    "words",
    [["status"], ["logs", "echo"], ["invoke", "echo", "-i", "x=[1]"], ["delete", "echo"], ["scale", "echo", "1"]],
)
def test_where_nothing_runs_every_command_says_what_to_do(words: list[str]) -> None:
    done = run(*words)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr == (
        "fastgshare: no platform at nats://127.0.0.1:1 (nothing listens there): start one with `fastgshare up`, "
        "name another with --url or FASTGSHARE_NATS_URL, or one here that has a --data-dir of its own with "
        "FASTGSHARE_DATA_DIR\n"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: echo\nmodel: {file: echo.onnx}\nslo: 5\n", "slo is not known; did you mean slo_ms?"),
        ("name: echo\nmodel: {file: echo.onnx}\nslo_ms: 0\n", "slo_ms is 0.0, expected above 0"),
        ("name: [\n", "line 2, column 1: not YAML"),
    ],
)
def test_a_bad_definition_is_one_line_that_names_file_and_place(definition: Path, text: str, problem: str) -> None:
    definition.write_text(text)
    done = run("deploy", definition)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"fastgshare: {definition}: {problem}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["deploy", "/no/such.yaml"], "/no/such.yaml: cannot read it: No such file or directory"),
        (["invoke", "echo"], "give exactly one of --input (repeatable), --file and --json"),
        (["invoke", "echo", "--json", "{}", "-i", "x=1"], "give exactly one of"),
        (["invoke", "echo", "-i", "x=1", "--timeout", "0"], "--timeout is 0, expected above 0"),
        (["status", "--url", "foo"], "'foo' is not a NATS URL: expected nats://HOST:PORT"),
        (["status", "--url", "nats://foo:bar"], "'nats://foo:bar' is not a NATS URL"),
        (["status", "--check", "--without", "profilr"], "--without: no service 'profilr': expected one of gateway, "),
        (["update", "echo"], "give either -f FILE or what to change, such as --slo-ms 100"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(words: list[str], problem: str) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"fastgshare: {problem}")
    assert done.stderr.count("\n") == 1


def test_an_update_from_another_functions_file_is_refused(definition: Path) -> None:
    done = run("update", "other", "-f", definition)
    assert done.exit_code == 2
    assert done.stderr == f"fastgshare: {definition} defines 'echo', not 'other'\n"


def status_of(state: ReplicaState, reason: str = "") -> ReplicaStatus:
    x = TensorSpec("x", "FP32", (-1,))
    return ReplicaStatus(
        replica=REPLICA,
        function=FunctionName("echo"),
        generation=1,
        node=NODE,
        device=DeviceId("node-a-cpu0"),
        host=HostId("elsewhere"),
        incarnation="1",
        state=state,
        device_kind="cpu",
        model_digest=Digest("a" * 64),
        reason=reason,
        signature=Signature(inputs=(x,), outputs=(x,)),
    )


@asynccontextmanager
async def node(nats: Natsd, state: ReplicaState, reason: str = "") -> AsyncGenerator[Bus]:
    """A platform whose one node brings whatever is deployed into `state`."""

    def status(spec: FunctionSpec) -> ReplicaStatus:
        known = status_of(state, reason)
        return replace(known, function=spec.name, generation=spec.generation, model_digest=spec.model.digest)

    async def follow(bus: Bus) -> None:
        functions = Bucket(bus, subjects.FUNCTIONS, FunctionSpec)
        replicas = Bucket(bus, subjects.REPLICAS, ReplicaStatus)
        while True:
            for spec in (await functions.list()).values():
                await replicas.put(subjects.fleet_key(NODE, REPLICA), status(spec))
            await anyio.sleep(0.02)

    async with open_bus(BusConfig(url=nats.url, name="test")) as bus:
        await ensure_storage(bus)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow, bus)
            yield bus
            tasks.cancel_scope.cancel()


async def test_a_function_is_deployed_called_looked_at_and_deleted(nats: Natsd, definition: Path) -> None:
    async with node(nats, ReplicaState.READY), run_gateway(nats.url):
        deployed = await fastgshare(nats.url, "deploy", definition)
        assert (deployed.exit_code, deployed.stdout) == (0, "echo generation 1: 1 ready\n")
        called = await fastgshare(nats.url, "invoke", "echo", "-i", "x=[1, 2.5]")
        assert (called.exit_code, called.stdout) == (0, "x  FP32 [2]  1 2.5\n")
        assert called.stderr.startswith("echo-g1-abc123 in ")
        body = '{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [7]}]}'
        answered = await fastgshare(nats.url, "invoke", "echo", "--json", "-", "--output-json", given=body)
        assert json.loads(answered.stdout)["outputs"] == [{"name": "x", "datatype": "FP32", "shape": [1], "data": [7]}]
        looked = await fastgshare(nats.url, "status", "--json")
        assert json.loads(looked.stdout)["functions"][0]["serving"] == 1
        checked = await fastgshare(nats.url, "status", "--check", "--without", "profiler")
        assert checked.exit_code == 1
        assert checked.stderr == "fastgshare: does not answer: gateway, scheduler, node_manager\n"
        everybody = [word for name in SERVICES for word in ("--without", name)]
        assert (await fastgshare(nats.url, "status", "--check", *everybody)).exit_code == 0
        shown = (await fastgshare(nats.url, "status")).stdout
        assert "gateway" in shown
        assert "does not answer" in shown
        assert "echo-g1-abc123 ready" in shown
        typo = await fastgshare(nats.url, "invoke", "ecko", "--file", definition)
        assert (typo.exit_code, typo.stderr) == (1, "fastgshare: no function 'ecko': did you mean 'echo'?\n")
        deleted = await fastgshare(nats.url, "delete", "echo")
        assert (deleted.exit_code, deleted.stdout) == (0, "echo deleted\n")
        again = await fastgshare(nats.url, "delete", "echo")
        assert (again.exit_code, again.stderr) == (
            1,
            "fastgshare: no function 'echo': see `fastgshare status`\n",
        )


async def test_what_is_on_loan_to_the_profiler_is_shown_apart(nats: Natsd, definition: Path) -> None:
    async with node(nats, ReplicaState.READY) as bus:
        await fastgshare(nats.url, "deploy", definition)
        replicas = Bucket(bus, subjects.REPLICAS, ReplicaStatus)
        found = await replicas.get(subjects.fleet_key(NODE, REPLICA))
        assert found is not None
        held = Slice(sm_partition=100, quota_request=0.001, quota_limit=1.0)
        lent = replace(found[0], replica=ReplicaId("echo-loan-1-1"), loan="profiler-1", slice=held, reason="broken")
        await replicas.put(subjects.fleet_key(NODE, lent.replica), lent)
        looked = json.loads((await fastgshare(nats.url, "status", "--json")).stdout)["functions"][0]
        assert [status["replica"] for status in looked["replicas"]] == [REPLICA]
        assert [status["replica"] for status in looked["loans"]] == [lent.replica]
        assert (looked["ready"], looked["reasons"]) == (1, [])
        shown = (await fastgshare(nats.url, "status")).stdout
        lines = shown[shown.index("on loan to the profiler") :].splitlines()
        assert lines[1].split()[:5] == ["echo-loan-1-1", "ready", "0", "to", "1"]


async def test_a_broken_deploy_ends_with_the_reason_and_status_one(nats: Natsd, definition: Path) -> None:
    async with node(nats, ReplicaState.FAILED, "no such\noperator"):
        done = await fastgshare(nats.url, "deploy", definition)
        assert done.exit_code == 1
        assert done.stdout == ""
        last = done.stderr.splitlines()[-1]
        assert last == "fastgshare: generation 1 of 'echo' failed: no such operator"


async def test_a_refused_call_ends_with_what_the_platform_said(nats: Natsd, definition: Path) -> None:
    async with node(nats, ReplicaState.READY):
        await fastgshare(nats.url, "deploy", definition, "--no-wait")
        done = await fastgshare(nats.url, "invoke", "echo", "-i", "x=[1]", "--timeout", "0.3")
        assert done.exit_code == 1
        assert done.stderr == "fastgshare: refused (unavailable): no gateway is listening; try again in 1 s\n"


async def test_a_file_waits_for_a_replica_to_tell_what_it_takes(nats: Natsd, definition: Path) -> None:
    file = TensorSpec("file", "BYTES", (1,))
    async with open_bus(BusConfig(url=nats.url)) as bus, run_gateway(nats.url):
        await ensure_storage(bus)
        await fastgshare(nats.url, "deploy", definition, "--no-wait")
        in_vain = await fastgshare(nats.url, "invoke", "echo", "--file", definition, "--timeout", "0.2")
        assert in_vain.exit_code == 1
        assert in_vain.stderr.startswith("fastgshare: waited 0.2 s for a replica of 'echo' to tell what it takes")
        called: list[Result] = []

        async def call() -> None:
            called.append(await fastgshare(nats.url, "invoke", "echo", "--file", definition, "--timeout", "60"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            while not called and not (await bus.jetstream.stream_info(STREAM)).state.consumer_count:
                await anyio.sleep(0.02)
            told = replace(status_of(ReplicaState.READY), signature=Signature(inputs=(file,), outputs=(file,)))
            await Bucket(bus, subjects.REPLICAS, ReplicaStatus).put(subjects.fleet_key(NODE, REPLICA), told)
        assert called[0].exit_code == 0, called[0].stderr


async def test_logs_are_one_line_an_event(nats: Natsd) -> None:
    async with open_bus(BusConfig(url=nats.url)) as bus:
        await ensure_storage(bus)
        nothing = await fastgshare(nats.url, "logs", "echo")
        assert nothing.stderr == "fastgshare: no function 'echo': see `fastgshare status`\n"
        await bus.tell("replica_failed", "echo", "no such operator", generation=3)
        while True:
            done = await fastgshare(nats.url, "logs", "echo")
            if done.stdout:  # the server keeps what it has received a moment later
                break
        assert done.stdout.endswith("  replica_failed  no such operator  generation=3\n")


async def test_a_bus_without_a_platform_is_told_from_none(nats: Natsd) -> None:
    done = await fastgshare(nats.url, "status")
    assert done.exit_code == 1
    assert done.stderr.startswith("fastgshare: the platform's storage did not answer (functions: ")
    assert done.stderr.endswith("): is `fastgshare up` ready?\n")
