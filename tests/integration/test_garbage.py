"""Whatever anyone sends costs its sender an answer that says so, and nobody else anything."""

import random
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
import numpy as np
import pytest
from nats.aio.msg import Msg

from fastgshare.client import Client
from fastgshare.shared import subjects
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.ids import AttemptId, DeviceId, FunctionName, GatewayId, NodeId, ReplicaId
from fastgshare.shared.messages import (
    INFER_VERSION,
    InferReply,
    InferRequest,
    MeasureReply,
    MeasureRequest,
    SlotRef,
    Tensor,
    Work,
)
from fastgshare.shared.slots import host_id
from fastgshare.shared.units import s_to_us
from tests.integration import functions, models
from tests.integration.doors import deployed, json_body, only_replica, rows, until
from tests.integration.world import GATEWAY, HANDLER, NODE_MANAGER, PROFILER, SCHEDULER, WORKER, World

ANSWER_S = 30.0
NOWHERE = SlotRef(host_id(), "fastgshare-1-000000000000", 0, 64)
X = memoryview(rows(1).tobytes())


def tensor(**changes: Any) -> InferRequest:
    """A request for the `times` model with one thing wrong."""
    fields: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": (1, 16), "data": X} | changes
    return InferRequest(INFER_VERSION, (Tensor(**fields),))


LIES: dict[str, InferRequest] = {
    "no inputs": InferRequest(INFER_VERSION, ()),
    "an input twice": InferRequest(INFER_VERSION, tensor().inputs * 2),
    "another name": tensor(name="y"),
    "no datatype": tensor(datatype=""),
    "a datatype nobody has": tensor(datatype="FP12"),
    "a datatype that numpy lacks": tensor(datatype="BF16", data=memoryview(bytes(32))),
    "a negative axis": tensor(shape=(-1, -16)),
    "too many axes": tensor(shape=(1, 16, 1)),
    "no axes": tensor(shape=()),
    "no rows": tensor(shape=(0, 16), data=memoryview(b"")),
    "more rows than there are": tensor(shape=(2, 16)),
    "rows without end": tensor(shape=(1, 1 << 60)),
    "a slot of nobody": tensor(data=memoryview(b""), slot=NOWHERE),
    "a slot elsewhere": tensor(data=memoryview(b""), slot=msgspec.structs.replace(NOWHERE, name="../../etc/passwd")),
    "a slot without end": tensor(
        shape=(1, 1 << 40), data=memoryview(b""), slot=msgspec.structs.replace(NOWHERE, size_bytes=1 << 42)
    ),
    "a slot on another host": tensor(
        data=memoryview(b""),
        slot=msgspec.structs.replace(NOWHERE, host="elsewhere"),
    ),
    "an output nobody has": InferRequest(INFER_VERSION, tensor().inputs, ("z",)),
}


async def answer_to(client: Client, function: str, payload: bytes, headers: dict[str, str] | None = None) -> Msg:
    return await client.bus.request(subjects.invoke(FunctionName(function)), payload, ANSWER_S, headers)


async def serves(client: Client, name: str) -> None:
    result = await client.invoke(name, {"x": rows(2)}, timeout_s=40.0)
    assert result.outputs["y"][0, 0] == 4.0


async def serves_a_little(client: Client, name: str) -> None:
    result = await client.invoke(name, {"x": rows(0)}, timeout_s=40.0)
    assert result.outputs["y"][0, 0] == 0.0


def survivors(world: World) -> list[int]:
    return [pid for program in (GATEWAY, SCHEDULER, PROFILER, NODE_MANAGER, WORKER) for pid in world.pids(program)]


@pytest.mark.parametrize("lie", LIES)
async def test_a_request_that_lies_is_refused(world: World, tmp_path: Path, name: str, lie: str) -> None:
    async with deployed(world, functions.times(name, tmp_path, 2.0)) as client:
        before = survivors(world)
        reply = decode(InferReply, (await answer_to(client, name, encode(LIES[lie]))).data)
        assert reply.error is not None
        assert reply.error.http_status in (400, 409)
        await serves(client, name)
        assert survivors(world) == before


async def test_bytes_that_are_no_request_are_refused(world: World, tmp_path: Path, name: str) -> None:
    chance = random.Random(5)
    good = encode(tensor())
    payloads = [b"", b"{", b"{}", b'{"inputs": 3}', b"\xc1", b"\x94", good[:-1], good + b"more", bytes(1 << 20)]
    payloads += [chance.randbytes(chance.randrange(1, 200)) for _ in range(100)]
    payloads += [bytes(b ^ (chance.random() < 0.03) for b in good) for _ in range(100)]
    async with deployed(world, functions.times(name, tmp_path, 2.0)) as client:
        before = survivors(world)
        answers: list[Msg] = []

        async def send(payload: bytes) -> None:
            answers.append(await answer_to(client, name, payload))

        async with anyio.create_task_group() as tasks:
            for payload in payloads:
                tasks.start_soon(send, payload)
        assert len(answers) == len(payloads)
        await serves(client, name)
        assert survivors(world) == before


async def test_bytes_tensors_that_are_cut_off_are_refused(world: World, tmp_path: Path, name: str) -> None:
    words = functions.function(name, models.words_and_numbers(tmp_path / "words.onnx"))
    async with deployed(world, words) as client:
        before = survivors(world)
        number = Tensor("number", "INT64", (1, 1), memoryview(np.array([[1]]).tobytes()))
        for data in (b"", b"\1\0\0", b"\xff\xff\xff\xff", b"\5\0\0\0word", b"\1\0\0\0a\1\0\0\0b"):
            request = InferRequest(INFER_VERSION, (Tensor("word", "BYTES", (1, 1), memoryview(data)), number))
            reply = decode(InferReply, (await answer_to(client, name, encode(request))).data)
            assert reply.error is not None
            assert reply.error.http_status == 400
        assert survivors(world) == before


@pytest.mark.parametrize("size_bytes", [64, 1 << 42])
async def test_a_slot_of_nobody_is_refused_by_user_code_s_process_too(
    world: World, tmp_path: Path, name: str, size_bytes: int
) -> None:
    async with deployed(world, functions.moody(name, tmp_path, max_batch=1)) as client:
        await until(partial(_has_one_handler, world))  # others may still drain, or be measured on loan
        before = [*survivors(world), *world.pids(HANDLER)]
        slot = msgspec.structs.replace(NOWHERE, size_bytes=size_bytes)
        x = Tensor("x", "FP32", (4,), memoryview(bytes(16)))
        request = InferRequest(INFER_VERSION, (Tensor("mood", "BYTES", (1,), slot=slot), x))
        reply = decode(InferReply, (await answer_to(client, name, encode(request))).data)
        assert reply.error is not None
        assert reply.error.http_status in (400, 409)
        assert [*survivors(world), *world.pids(HANDLER)] == before


async def _has_one_handler(world: World) -> bool:
    return len(world.pids(HANDLER)) == 1


async def test_what_grows_beyond_a_message_on_its_way_is_refused(world: World, tmp_path: Path, name: str) -> None:
    async with deployed(world, functions.times(name, tmp_path, 1.2345678)) as client:
        before = survivors(world)
        limit = client.bus.max_payload_bytes
        document = json_body({"x": np.ones((1, 1 << 20), np.float32)})  # small as JSON, until it was multiplied
        answer = msgspec.json.decode((await answer_to(client, name, msgspec.json.encode(document))).data)
        assert f"the limit of one message is {limit}" in answer["error"]
        whole = tensor(shape=(1, (limit - 256) // 4), data=memoryview(bytes((limit - 256) // 4 * 4)))
        reply = decode(InferReply, (await answer_to(client, name, encode(whole))).data)
        assert reply.error is not None
        assert reply.error.http_status == 413
        await serves_a_little(client, name)
        assert survivors(world) == before


async def test_headers_that_make_no_sense_are_refused_or_let_be(world: World, tmp_path: Path, name: str) -> None:
    async with deployed(world, functions.times(name, tmp_path, 2.0)) as client:
        payload = encode(tensor())
        reply = decode(InferReply, (await answer_to(client, name, payload, {subjects.DEADLINE_US: "soon"})).data)
        assert reply.error is not None
        assert subjects.DEADLINE_US in reply.error.message
        late = decode(InferReply, (await answer_to(client, name, payload, {subjects.DEADLINE_US: "-5"})).data)
        assert late.error is not None
        assert late.error.http_status == 504
        odd = {subjects.REQUEST_ID: "a.b c>*" * 99, "traceparent": "00-nonsense"}
        assert decode(InferReply, (await answer_to(client, name, payload, odd)).data).error is None


async def test_garbage_on_every_subject_and_in_every_bucket_is_let_be(world: World, tmp_path: Path, name: str) -> None:
    async with deployed(world, functions.times(name, tmp_path, 2.0)) as client:
        before = survivors(world)
        status = await only_replica(client, name)
        for subject in (
            subjects.replica(status.replica),
            subjects.measure(status.replica),
            subjects.done(GatewayId("local-gateway")),
            subjects.load(GatewayId("nobody")),
            subjects.demand(FunctionName("nobody")),
            subjects.node_status(NodeId("local")),
            subjects.worker_hello(DeviceId("nothing")),
            subjects.profile(FunctionName(name)),
            subjects.profile_progress(FunctionName(name)),
            subjects.invoke(FunctionName(name)),
            *(subjects.ping(service) for service in ("gateway", "scheduler", "profiler", "node_manager")),
        ):
            for payload in (b"", b"\xc1garbage", encode(tensor())):
                await client.bus.publish(subject, payload, "nobody.listens")
                await client.bus.publish(subject, payload)
        keys = []
        for bucket in (subjects.FUNCTIONS, subjects.PLACEMENTS, subjects.REPLICAS, subjects.PROFILES, subjects.LEASES):
            store = await client.bus.jetstream.key_value(bucket)
            for key in ("garbage", subjects.LEADER_KEY, subjects.fleet_key(NodeId("local"), ReplicaId("garbage"))):
                await store.put(key, b"\xc1garbage")
                if bucket != subjects.LEASES:  # those run out
                    keys.append((store, key))
        await serves(client, name)
        await client.deploy(functions.times(name, tmp_path, 4.0))
        await until(lambda: answered_by(client, name, 4.0))
        assert survivors(world) == before
        assert not (await client.status()).missing
        for store, key in keys:
            await store.delete(key)


ABSURD = {
    "a batch of nothing": MeasureRequest(batch=0),
    "a batch below nothing": MeasureRequest(batch=-1),
    "a batch without end": MeasureRequest(batch=1 << 62),
    "runs below nothing": MeasureRequest(batch=1, warmup_runs=-1, min_runs=-5, max_runs=-1),
    "no runs": MeasureRequest(batch=1, warmup_runs=0, min_runs=0, max_runs=0),
    "runs without end": MeasureRequest(batch=1, min_runs=1 << 62, max_runs=1 << 62),
    "warming up without end": MeasureRequest(batch=1, warmup_runs=1 << 62),
    "a budget without end": MeasureRequest(batch=1, max_runs=1 << 62, budget_ms=1 << 62),
    "a budget below nothing": MeasureRequest(batch=1, budget_ms=-1),
}


@pytest.mark.parametrize("absurdity", ABSURD)
async def test_a_measurement_that_makes_no_sense_is_answered_and_harms_nobody(
    world: World, tmp_path: Path, name: str, absurdity: str
) -> None:
    async with deployed(world, functions.times(name, tmp_path, 2.0)) as client:
        await serves(client, name)
        before = survivors(world)
        status = await only_replica(client, name)
        subject, request = subjects.measure(status.replica), encode(ABSURD[absurdity])
        await client.bus.publish(subject, request)
        decode(MeasureReply, (await client.bus.request(subject, request, ANSWER_S)).data)
        await serves(client, name)
        assert survivors(world) == before


@pytest.mark.parametrize("gateway", ["", ".", "a b", "a..b", ">", "*", "x" * 5000, "\r\nPUB a 1\r\n"])
async def test_work_from_a_gateway_that_cannot_be_told_harms_nobody(
    world: World, tmp_path: Path, name: str, gateway: str
) -> None:
    async with deployed(world, functions.times(name, tmp_path, 2.0)) as client:
        await serves(client, name)
        before = survivors(world)
        status = await only_replica(client, name)
        deadline_us = unix_us() + s_to_us(ANSWER_S)
        work = Work(INFER_VERSION, AttemptId("a-1"), GatewayId(gateway), deadline_us, "", memoryview(encode(tensor())))
        await client.bus.publish(subjects.replica(status.replica), encode(work), "nobody.listens")
        await client.bus.publish(subjects.replica(status.replica), encode(work))
        await serves(client, name)
        assert survivors(world) == before


async def answered_by(client: Client, name: str, factor: float) -> bool:
    result = await client.invoke(name, {"x": rows(1)}, timeout_s=40.0)
    return bool(result.outputs["y"][0, 0] == factor)
