"""Deploying, watching and looking, on a real server with stand-ins for nodes, scheduler and profiler."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace
from nats.aio.msg import Msg

from fastgshare.client import (
    Client,
    DeployFailed,
    DeployTimedOut,
    FunctionDefinition,
    FunctionUnknown,
    ModelSource,
    RequestRefused,
    connect,
    profiling,
)
from fastgshare.client.logs import last_event
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import InvalidSpec
from fastgshare.shared.ids import DeviceId, FunctionName, HostId, NodeId, ReplicaId
from fastgshare.shared.messages import (
    Autoscale,
    FunctionSpec,
    NodeStatus,
    ProfileProgress,
    ProfileRequest,
    ProfileState,
    ReplicaState,
    ReplicaStatus,
)
from fastgshare.shared.service import answer_pings
from fastgshare.shared.storage import ensure_storage
from tests.natsd import Natsd

NODE = NodeId("node-a")
NAME = FunctionName("echo")


@asynccontextmanager
async def platform(nats: Natsd, directory: Path) -> AsyncGenerator[tuple[Client, Bus]]:
    """A client, another connection for stand-ins, and a model file `echo.onnx` in `directory`."""
    (directory / "echo.onnx").write_bytes(b"not looked into here")
    (directory / "echo.yaml").write_text("name: echo\nmodel: {file: echo.onnx}\nreplicas: 1\n")
    async with open_bus(BusConfig(url=nats.url, name="test")) as bus:
        await ensure_storage(bus)
        async with connect(nats.url) as client:
            yield client, bus


async def put_replica(bus: Bus, spec: FunctionSpec, state: ReplicaState, reason: str = "") -> None:
    """What a node would write."""
    status = ReplicaStatus(
        replica=ReplicaId(f"{spec.name}-g{spec.generation}-abc123"),
        function=spec.name,
        generation=spec.generation,
        node=NODE,
        device=DeviceId("node-a-cpu0"),
        host=HostId("host"),
        incarnation="1",
        state=state,
        device_kind="cpu",
        model_digest=spec.model.digest,
        reason=reason,
    )
    key = subjects.fleet_key(NODE, status.replica)
    await Bucket(bus, subjects.REPLICAS, ReplicaStatus).put(key, status)


async def node_that_ends_in(bus: Bus, state: ReplicaState, reason: str = "", after: int = 0) -> None:
    """Brings each deployed generation later than `after` into `state`, for ever."""
    seen = set(range(after + 1))
    while True:
        for spec in (await Bucket(bus, subjects.FUNCTIONS, FunctionSpec).list()).values():
            if spec.generation not in seen:
                seen.add(spec.generation)
                await put_replica(bus, spec, state, reason)
        await anyio.sleep(0.01)


async def until_kept(bus: Bus, kind: str, text: str = "") -> None:
    """The server keeps what it has received a moment later."""
    while (newest := await last_event(bus, NAME)) is None or newest.kind != kind or text not in newest.text:
        await anyio.sleep(0.01)


async def test_deploy_stores_everything_and_returns_once_it_serves(nats: Natsd, tmp_path: Path) -> None:
    async with platform(nats, tmp_path) as (client, bus), anyio.create_task_group() as tasks:
        tasks.start_soon(node_that_ends_in, bus, ReplicaState.READY)
        steps: list[str] = []
        spec = await client.deploy(tmp_path / "echo.yaml", say=steps.append)
        assert (spec.name, spec.generation, spec.replicas) == ("echo", 1, 1)
        assert steps[0] == "getting echo.onnx"
        assert await client.functions() == [spec]
        assert (await client.replicas())[0].state is ReplicaState.READY
        tasks.cancel_scope.cancel()


async def test_a_broken_generation_fails_the_deploy_and_says_what_goes_on_serving(nats: Natsd, tmp_path: Path) -> None:
    async with platform(nats, tmp_path) as (client, bus):
        first = await client.deploy(tmp_path / "echo.yaml", wait=False)
        await put_replica(bus, first, ReplicaState.READY)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(node_that_ends_in, bus, ReplicaState.FAILED, "no such operator", first.generation)
            with pytest.raises(DeployFailed, match=r"no such operator.*generation 1 keeps serving") as caught:
                await client.update("echo", max_batch=2)
            tasks.cancel_scope.cancel()
        assert caught.value.fields["generation"] == 2


async def test_a_deploy_that_nobody_takes_up_times_out_with_what_was_said_of_it(nats: Natsd, tmp_path: Path) -> None:
    async with platform(nats, tmp_path) as (client, bus):
        await client.deploy(tmp_path / "echo.yaml", wait=False)
        await until_kept(bus, "function_defined")
        await bus.tell("no_room", "echo", "needs 256 MiB, node-a has 12")
        await until_kept(bus, "no_room")
        with pytest.raises(DeployTimedOut) as caught:
            await client.deploy(tmp_path / "echo.yaml", timeout_s=0.5)
        assert "not ready within 0.5 s: 0 of 1 replicas ready; no node has taken one up yet" in str(caught.value)
        assert "s ago: needs 256 MiB, node-a has 12" in str(caught.value)


async def test_no_room_is_said_at_once_and_is_the_reason_in_the_end_whatever_comes_after(
    nats: Natsd, tmp_path: Path
) -> None:
    async with platform(nats, tmp_path) as (client, bus):
        spec = await client.deploy(tmp_path / "echo.yaml", wait=False)
        await put_replica(bus, spec, ReplicaState.READY)
        await until_kept(bus, "function_defined")
        said: list[str] = []

        async def tell() -> None:
            while not said:
                await anyio.sleep(0.01)
            await bus.tell("no_room", "echo", "0 such chunks")
            await bus.tell("replica_ready", "echo")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tell)
            for _ in range(2):  # the second time nothing changes, and the scheduler has no reason to repeat itself
                with pytest.raises(DeployTimedOut, match=r"1 of 9 replicas ready; no room for more, .*0 such chunks"):
                    await client.scale("echo", 9, timeout_s=4.0, say=said.append)
        step, shortage = "generation 1: waiting for 9 ready", "no room for more: 0 such chunks; Ctrl-C to stop waiting"
        assert said == [step, shortage] * 2
        (function,) = (await client.status()).functions
        assert function.reasons[0].endswith("s ago: 0 such chunks")


async def test_an_objective_that_cannot_be_met_is_in_the_status_until_it_can(nats: Natsd, tmp_path: Path) -> None:
    async with platform(nats, tmp_path) as (client, bus):
        model = ModelSource(file=str(tmp_path / "echo.onnx"))
        await client.deploy(FunctionDefinition(name="echo", model=model, autoscale=Autoscale(min=0)), wait=False)
        await until_kept(bus, "function_defined")
        await bus.tell("objective_infeasible", "echo", "the quickest slice takes 31 ms")
        await until_kept(bus, "objective_infeasible")
        assert (await client.status()).functions[0].reasons == ["the quickest slice takes 31 ms"]
        await bus.tell("objective_feasible", "echo", "it can")
        await until_kept(bus, "objective_feasible")
        assert (await client.status()).functions[0].reasons == []


async def test_update_scale_and_delete_change_only_what_they_name(nats: Natsd, tmp_path: Path) -> None:
    async with platform(nats, tmp_path) as (client, _):
        model = ModelSource(file=str(tmp_path / "echo.onnx"))
        first = await client.deploy(FunctionDefinition(name="echo", model=model, max_batch=4), wait=False)
        scaled = await client.scale("echo", 3, wait=False)
        assert scaled == replace(first, replicas=3)
        auto = await client.update("echo", autoscale=Autoscale(min=0, max=2), wait=False)
        assert auto == replace(first, replicas=None, autoscale=Autoscale(min=0, max=2))
        faster = await client.update("echo", slo_ms=5.0, wait=False)
        assert faster == replace(auto, slo_ms=5.0, generation=2)
        assert await client.deploy(faster, wait=False) == faster
        await client.delete("echo")
        assert await client.functions() == []
        for call in (client.delete("echo"), client.scale("echo", 1)):
            with pytest.raises(FunctionUnknown):
                await call


async def test_a_quota_that_the_scheduler_chooses_is_refused_with_the_way_to_set_it(
    nats: Natsd, tmp_path: Path
) -> None:
    async with platform(nats, tmp_path) as (client, _):
        model = ModelSource(file=str(tmp_path / "echo.onnx"))
        own = FunctionDefinition(name="echo", model=model, autoscale=Autoscale(min=1, max=2))
        first = await client.deploy(own, wait=False)
        assert first.autoscale is not None
        assert first.autoscale.policy == "objective"
        with pytest.raises(InvalidSpec, match="quota_request is the scheduler's to choose under policy objective"):
            await client.update("echo", quota_request=0.3, wait=False)
        limited = await client.update("echo", quota_limit=0.5, wait=False)
        assert limited == replace(first, slice=replace(first.slice, quota_limit=0.5))
        counted = await client.update("echo", replicas=1, quota_request=0.3, wait=False)
        assert counted.slice.quota_request == 0.3


async def test_logs_are_told_in_order_and_followed_over_a_server_restart(nats: Natsd, tmp_path: Path) -> None:
    async with platform(nats, tmp_path) as (client, bus):
        for number in range(3):
            await bus.tell("step", "echo", str(number))
            await bus.tell("step", "other", "not shown")
        await until_kept(bus, "step", "2")
        assert [event.text async for event in client.logs("echo")] == ["0", "1", "2"]
        assert [event.text async for event in client.logs("none")] == []
        followed: list[str] = []

        async def follow() -> None:
            async for event in client.logs("echo", follow=True):
                followed.append(event.text)  # noqa: PERF401  # each is looked at as it comes

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            while len(followed) < 3:
                await anyio.sleep(0.01)
            await anyio.to_thread.run_sync(nats.restart)
            while len(followed) < 4:
                await bus.tell("step", "echo", "after")
                await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()
        assert followed[:4] == ["0", "1", "2", "after"]


async def test_status_tells_who_answers_who_is_missing_and_how_functions_do(nats: Natsd, tmp_path: Path) -> None:
    async def beat(bus: Bus) -> None:
        status = NodeStatus(node=NODE, host=HostId("host"), incarnation="1", at_us=unix_us(), devices=())
        while True:
            await bus.publish(subjects.node_status(NODE), encode(status))
            await anyio.sleep(0.05)

    async with platform(nats, tmp_path) as (client, bus):
        spec = await client.deploy(tmp_path / "echo.yaml", wait=False)
        await put_replica(bus, spec, ReplicaState.FAILED, "no such operator")
        async with anyio.create_task_group() as tasks:
            await tasks.start(answer_pings, bus, "gateway", "gw-1", {"http": "http://127.0.0.1:1"})
            await tasks.start(answer_pings, bus, "gateway", "gw-2", {})
            await tasks.start(answer_pings, bus, "node_manager", "node-a", {})
            tasks.start_soon(beat, bus)
            await bus.connection.flush()
            status = await client.status()
            tasks.cancel_scope.cancel()
        assert [ready.instance for ready in status.services] == ["gw-1", "gw-2", "node-a"]
        assert status.missing == ["scheduler", "profiler"]
        assert [node.node for node in status.nodes] == [NODE]
        (function,) = status.functions
        assert (function.wanted, function.ready, function.serving) == (1, 0, 0)
        assert function.reasons == ["no such operator"]


def progress(done: int, state: ProfileState = ProfileState.MEASURING) -> ProfileProgress:
    return ProfileProgress(function="echo", done=done, planned=3, state=state)


async def test_a_profile_is_followed_to_its_end(nats: Natsd, tmp_path: Path) -> None:
    async with platform(nats, tmp_path) as (client, bus):
        await client.deploy(tmp_path / "echo.yaml", wait=False)
        asked: list[ProfileRequest] = []

        async def on_request(msg: Msg) -> None:
            asked.append(decode(ProfileRequest, msg.data))
            await bus.publish(msg.reply, encode(progress(0)))
            for report in (progress(1), progress(2), progress(3, ProfileState.COMPLETE)):
                await bus.publish(subjects.profile_progress(NAME), encode(report))

        await bus.subscribe(subjects.PROFILE_ALL, on_request)
        await bus.connection.flush()
        seen = [report async for report in client.profile("echo", again=True, grid=True, budget_s=9)]
        assert [report.done for report in seen] == [0, 1, 2, 3]
        assert asked == [ProfileRequest(function="echo", again=True, grid=True, budget_s=9)]


async def test_a_profiler_that_falls_silent_is_asked_again(
    nats: Natsd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "SILENCE_S", 0.1)
    async with platform(nats, tmp_path) as (client, bus):
        await client.deploy(tmp_path / "echo.yaml", wait=False)
        answers = [progress(0), progress(3, ProfileState.COMPLETE)]

        async def on_request(msg: Msg) -> None:
            await bus.publish(msg.reply, encode(answers.pop(0)))

        await bus.subscribe(subjects.PROFILE_ALL, on_request)
        await bus.connection.flush()
        assert [report.done async for report in client.profile("echo")] == [0, 3]


async def test_without_a_profiler_the_request_is_refused(
    nats: Natsd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "GIVE_UP_S", 0.2)
    async with platform(nats, tmp_path) as (client, _):
        await client.deploy(tmp_path / "echo.yaml", wait=False)
        with pytest.raises(RequestRefused, match="no profiler answered"):
            await anext(aiter(client.profile("echo")))


async def test_nothing_is_measured_of_a_function_that_is_not_there_or_cannot_run(nats: Natsd, tmp_path: Path) -> None:
    async with platform(nats, tmp_path) as (client, bus):
        with pytest.raises(FunctionUnknown):
            await anext(aiter(client.profile("echo")))
        spec = await client.deploy(tmp_path / "echo.yaml", wait=False)
        await put_replica(bus, spec, ReplicaState.FAILED, "no such operator")
        with pytest.raises(DeployFailed, match="generation 1 of 'echo' failed: no such operator"):
            await anext(aiter(client.profile("echo")))
