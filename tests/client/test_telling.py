"""What a function takes is awaited until a replica tells it; why nobody does is told."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from fastgshare.client import Client, DeployFailed, FunctionUnknown, SignatureUnknown, connect
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, HostId, NodeId, ReplicaId
from fastgshare.shared.messages import Autoscale, FunctionSpec, ModelRef, ReplicaState, ReplicaStatus, Signature
from fastgshare.shared.storage import ensure_storage
from tests.natsd import Natsd

PATIENCE_S = 30.0
NODE = NodeId("n1")
TOLD = Signature(inputs=(TensorSpec("file", "BYTES", (1,)),), outputs=(TensorSpec("y", "FP32", (-1,)),))


def spec(**fields: object) -> FunctionSpec:
    model = ModelRef(digest=Digest("a" * 64), size_bytes=1)
    given: dict[str, object] = {"name": FunctionName("echo"), "model": model, "replicas": 1} | fields
    return FunctionSpec(**given)  # type: ignore[arg-type]


def status(state: ReplicaState, signature: Signature | None = None, reason: str = "") -> ReplicaStatus:
    return ReplicaStatus(
        replica=ReplicaId("echo-g1-abc123"),
        function=FunctionName("echo"),
        generation=1,
        node=NODE,
        device=DeviceId("n1-cpu0"),
        host=HostId("h"),
        incarnation="1",
        state=state,
        device_kind="cpu",
        model_digest=Digest("a" * 64),
        reason=reason,
        signature=signature,
    )


@asynccontextmanager
async def platform(nats: Natsd, deployed: FunctionSpec | None = None) -> AsyncGenerator[Client]:
    async with connect(nats.url) as client:
        await ensure_storage(client.bus)
        if deployed is not None:
            await Bucket(client.bus, subjects.FUNCTIONS, FunctionSpec).put("echo", deployed)
        yield client


async def put(client: Client, told: ReplicaStatus) -> None:
    await Bucket(client.bus, subjects.REPLICAS, ReplicaStatus).put(subjects.fleet_key(NODE, told.replica), told)


async def test_what_a_function_takes_is_awaited_while_its_replica_loads(nats: Natsd) -> None:
    async with platform(nats, spec()) as client:
        await put(client, status(ReplicaState.LOADING))
        assert await client.signature("echo") is None
        found: list[Signature | None] = []

        async def ask() -> None:
            found.append(await client.signature("echo", wait_s=PATIENCE_S))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            assert found == []
            await put(client, status(ReplicaState.READY, TOLD))
        assert found == [TOLD]


async def test_what_was_waited_for_in_vain_is_told(nats: Natsd) -> None:
    async with platform(nats, spec()) as client:
        with pytest.raises(SignatureUnknown) as caught:
            await client.signature("echo", wait_s=0.3)
        assert str(caught.value) == (
            "waited 0.3 s for a replica of 'echo' to tell what it takes, and none did: "
            "0 of 1 replicas ready; no node has taken one up yet"
        )


async def test_nobody_waits_for_what_cannot_run_or_is_not_there(nats: Natsd) -> None:
    async with platform(nats, spec()) as client:
        await put(client, status(ReplicaState.FAILED, reason="no such operator"))
        with pytest.raises(DeployFailed, match="no such operator"), anyio.fail_after(PATIENCE_S):
            await client.signature("echo", wait_s=1000)
        with pytest.raises(FunctionUnknown):
            await client.signature("other", wait_s=1000)


async def test_nobody_waits_for_a_replica_that_only_a_call_starts(nats: Natsd) -> None:
    async with platform(nats, spec(replicas=None, autoscale=Autoscale(min=0, max=2))) as client:
        with anyio.fail_after(PATIENCE_S):
            assert await client.signature("echo", wait_s=1000) is None
