"""Requests over a real server to a stand-in for gateway and worker: every one is answered or refused in time."""

import os
import time

import anyio
import numpy as np
import pytest
from msgspec.structs import replace
from nats.aio.msg import Msg

from fastgshare.client import RequestRefused, connect
from fastgshare.client.inference import HEADER_ROOM_BYTES
from fastgshare.client.values import Value
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket
from fastgshare.shared.bus import BusConfig, open_bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import encode
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, HostId, NodeId, ReplicaId, RequestId
from fastgshare.shared.messages import INFER_VERSION, InferReply, InferRequest, ReplicaState, ReplicaStatus, Tensor
from fastgshare.shared.slots import SHARED_MEMORY, host_id
from fastgshare.shared.storage import ensure_storage
from fastgshare.shared.tracing import new_trace, parse_traceparent
from tests.client.fake_gateway import REPLICA, FakeGateway, echo, run_gateway
from tests.natsd import MAX_PAYLOAD_BYTES, Natsd

SMALL = np.arange(16, dtype=np.float32)
LARGE = np.arange(150_000, dtype=np.float32).reshape(1, 3, 50_000)


async def silent(_gateway: FakeGateway, _msg: Msg, _request: InferRequest) -> None:
    """Takes the request and says nothing, as a gateway that is killed then and there."""


def status(host: HostId) -> ReplicaStatus:
    return ReplicaStatus(
        replica=REPLICA,
        function=FunctionName("echo"),
        generation=1,
        node=NodeId("node"),
        device=DeviceId("node-cpu0"),
        host=host,
        incarnation="1",
        state=ReplicaState.READY,
        device_kind="cpu",
        model_digest=Digest("ab" * 32),
    )


async def put_replica(url: str, host: HostId) -> None:
    async with open_bus(BusConfig(url=url)) as bus:
        await ensure_storage(bus)
        bucket = Bucket(bus, subjects.REPLICAS, ReplicaStatus)
        await bucket.put(subjects.fleet_key(NodeId("node"), ReplicaId("echo-g1-abc123")), status(host))


def slots_in_use() -> set[str]:
    return {path.name for path in SHARED_MEMORY.glob(f"fastgshare-{os.getpid()}-*")}


async def test_arrays_go_out_and_come_back_with_who_answered(nats: Natsd) -> None:
    async with run_gateway(nats.url) as gateway, connect(nats.url) as client:
        trace = new_trace(sampled=True)
        inputs: dict[str, Value] = {"x": SMALL, "text": b"\x00raw\x00", "texts": ["a", "b"]}
        before_us = unix_us()
        result = await client.invoke("echo", inputs, outputs=["x"], timeout_s=5, trace=trace)
        np.testing.assert_array_equal(result.outputs["x"], SMALL)
        assert result.outputs["text"].tolist() == [b"\x00raw\x00"]
        assert result.outputs["texts"].tolist() == [b"a", b"b"]
        assert result.replica == REPLICA
        assert result.timing is not None
        assert result.timing.batch == 1
        (request,) = gateway.requests
        assert request.outputs == ("x",)
        assert before_us <= request.deadline_us - 5_000_000 <= unix_us()
        assert parse_traceparent(request.traceparent) == trace
        assert len(request.request_id) == 16


async def test_many_requests_at_once_get_their_own_answers(nats: Natsd) -> None:
    async with run_gateway(nats.url), connect(nats.url) as client:

        async def one(number: int) -> None:
            result = await client.invoke("echo", {"x": np.array([number])})
            assert result.outputs["x"].tolist() == [number]

        async with anyio.create_task_group() as callers:
            for number in range(100):
                callers.start_soon(one, number)


async def test_a_refusal_is_raised_as_the_platform_said_it_and_not_in_a_group(nats: Natsd) -> None:
    body = ErrorBody(ErrorCode.OVERLOADED, "the queue is full", retry_after_ms=40)

    async def refuse(gateway: FakeGateway, msg: Msg, _: InferRequest) -> None:
        await gateway.reply(msg, error=body)

    async with run_gateway(nats.url, refuse):
        with pytest.raises(RequestRefused, match="overloaded: the queue is full") as caught:
            async with connect(nats.url) as client:
                await client.invoke("echo", {"x": SMALL})
        assert caught.value.body == body


async def test_a_name_that_no_function_can_have_is_refused_without_asking(nats: Natsd) -> None:
    async with connect(nats.url) as client:
        with pytest.raises(RequestRefused, match=r"not_found: 'no such\.name' is not the name of a function"):
            await client.invoke("no such.name", {"x": SMALL})


async def test_where_no_gateway_listens_the_request_waits_for_one(nats: Natsd) -> None:
    async with connect(nats.url) as client, anyio.create_task_group() as tasks:
        answers: list[float] = []

        async def call() -> None:
            result = await client.invoke("echo", {"x": SMALL}, timeout_s=20)
            answers.append(float(result.outputs["x"][1]))

        tasks.start_soon(call)
        # The server's word that nobody listens has come and gone before this round trip ends.
        await anyio.wait_all_tasks_blocked()
        await client.bus.connection.flush()
        assert not answers
        async with run_gateway(nats.url):
            while not answers:
                await anyio.sleep(0.01)
        assert answers == [1.0]


async def test_where_no_gateway_ever_listens_it_is_unavailable_at_the_deadline(nats: Natsd) -> None:
    async with connect(nats.url) as client:
        start_s = time.monotonic()
        with pytest.raises(RequestRefused, match="unavailable: no gateway is listening"):
            await client.invoke("echo", {"x": SMALL}, timeout_s=0.5)
        assert 0.49 <= time.monotonic() - start_s < 5


async def test_an_unanswered_request_is_sent_once_more_under_the_same_id(nats: Natsd) -> None:
    async def second_time(gateway: FakeGateway, msg: Msg, request: InferRequest) -> None:
        if len(gateway.requests) == 2:
            await echo(gateway, msg, request)
            await echo(gateway, msg, request)  # a second answer changes nothing

    async with run_gateway(nats.url, second_time) as gateway, connect(nats.url) as client:
        result = await client.invoke("echo", {"x": SMALL}, timeout_s=4)
        np.testing.assert_array_equal(result.outputs["x"], SMALL)
        first, second = (request.request_id for request in gateway.requests)
        assert first == second


async def test_no_answer_by_the_deadline_is_refused_as_such(nats: Natsd) -> None:
    async with run_gateway(nats.url, silent) as gateway, connect(nats.url) as client:
        with pytest.raises(RequestRefused, match="deadline_exceeded: 'echo' did not answer in time"):
            await client.invoke("echo", {"x": SMALL}, timeout_s=2)
        assert len(gateway.requests) == 2
        with pytest.raises(ValueError, match="timeout_s is 0, expected above 0"):
            await client.invoke("echo", {"x": SMALL}, timeout_s=0)


async def test_a_server_restart_during_a_request_does_not_lose_it(nats: Natsd) -> None:
    async def after_the_restart(gateway: FakeGateway, msg: Msg, request: InferRequest) -> None:
        if restarted.is_set():
            await echo(gateway, msg, request)
        else:
            arrived.set()

    arrived, restarted = anyio.Event(), anyio.Event()
    async with (
        run_gateway(nats.url, after_the_restart),
        connect(nats.url) as client,
        anyio.create_task_group() as tasks,
    ):

        async def call() -> None:
            # Half of the budget lies far behind the end of this test: only the reconnect can send again.
            result = await client.invoke("echo", {"x": SMALL}, timeout_s=300)
            np.testing.assert_array_equal(result.outputs["x"], SMALL)

        tasks.start_soon(call)
        await arrived.wait()
        await anyio.to_thread.run_sync(nats.restart)
        restarted.set()


async def test_a_server_that_stays_away_is_told_at_the_deadline(nats: Natsd) -> None:
    async with connect(nats.url) as client:
        nats.kill()
        while client.bus.is_connected:
            await anyio.sleep(0.01)
        with pytest.raises(RequestRefused, match="unavailable: the NATS server cannot be reached"):
            await client.invoke("echo", {"x": SMALL}, timeout_s=0.5)


async def test_large_tensors_take_a_slot_both_ways_and_the_slot_is_used_again(nats: Natsd) -> None:
    await put_replica(nats.url, host_id())
    before = slots_in_use()
    async with run_gateway(nats.url) as gateway, connect(nats.url) as client:
        for _ in range(3):
            result = await client.invoke("echo", {"x": LARGE})
            np.testing.assert_array_equal(result.outputs["x"], LARGE)
        assert all(request.reply_slot is not None for request in gateway.requests)
        assert len(slots_in_use() - before) == 1
    assert slots_in_use() <= before


async def test_a_slot_of_a_request_that_was_given_up_is_unlinked(nats: Natsd) -> None:
    await put_replica(nats.url, host_id())
    before = slots_in_use()
    async with run_gateway(nats.url, silent) as gateway, connect(nats.url) as client:
        with pytest.raises(RequestRefused, match="deadline_exceeded"):
            await client.invoke("echo", {"x": LARGE}, timeout_s=2)
        assert gateway.requests[0].reply_slot is not None
        assert slots_in_use() <= before


async def test_an_unreachable_slot_is_answered_inline_and_not_tried_again(nats: Natsd) -> None:
    async def cannot_reach(gateway: FakeGateway, msg: Msg, request: InferRequest) -> None:
        if request.reply_slot is not None:
            await gateway.reply(msg, error=ErrorBody(ErrorCode.TENSOR_UNREACHABLE, "no such slot"))
        else:
            await echo(gateway, msg, request)

    await put_replica(nats.url, host_id())
    async with run_gateway(nats.url, cannot_reach) as gateway, connect(nats.url) as client:
        for _ in range(2):
            result = await client.invoke("echo", {"x": LARGE})
            np.testing.assert_array_equal(result.outputs["x"], LARGE)
        assert [request.reply_slot is None for request in gateway.requests] == [False, True, True]
        assert len({request.request_id for request in gateway.requests}) == 3


async def test_an_answer_that_is_not_where_it_says_is_refused_and_the_next_request_takes_a_slot_all_the_same(
    nats: Natsd,
) -> None:
    async def lie(gateway: FakeGateway, msg: Msg, request: InferRequest) -> None:
        room = request.reply_slot
        assert room is not None
        beyond = replace(room, size_bytes=1 << 62)
        await gateway.reply(msg, (Tensor("x", "FP32", LARGE.shape, slot=beyond),))

    await put_replica(nats.url, host_id())
    async with run_gateway(nats.url, lie) as gateway, connect(nats.url) as client:
        for _ in range(2):
            with pytest.raises(RequestRefused, match="internal: the answer's outputs are not where it says"):
                await client.invoke("echo", {"x": LARGE})
        assert [request.reply_slot is None for request in gateway.requests] == [False, False]


async def test_replicas_on_another_host_get_tensors_inline(nats: Natsd) -> None:
    await put_replica(nats.url, HostId("elsewhere"))
    async with run_gateway(nats.url) as gateway, connect(nats.url) as client:
        result = await client.invoke("echo", {"x": LARGE})
        np.testing.assert_array_equal(result.outputs["x"], LARGE)
        assert gateway.requests[0].reply_slot is None


async def test_what_no_message_can_carry_is_refused_with_the_limit(nats: Natsd) -> None:
    await put_replica(nats.url, HostId("elsewhere"))
    async with run_gateway(nats.url), connect(nats.url) as client:
        too_large = np.zeros(MAX_PAYLOAD_BYTES, dtype=np.uint8)
        with pytest.raises(RequestRefused, match=f"too_large.*at most {MAX_PAYLOAD_BYTES - HEADER_ROOM_BYTES}"):
            await client.invoke("echo", {"x": too_large})
        fits = np.zeros(MAX_PAYLOAD_BYTES - 2 * HEADER_ROOM_BYTES, dtype=np.uint8)
        assert (await client.invoke("echo", {"x": fits})).outputs["x"].nbytes == fits.nbytes


async def test_room_for_a_large_reply_is_offered_once_one_was_seen(nats: Natsd) -> None:
    async def grow(gateway: FakeGateway, msg: Msg, request: InferRequest) -> None:
        (tensor,) = request.inputs
        big = type(request)(request.version, (type(tensor)("y", "FP32", LARGE.shape, LARGE.data.cast("B")),))
        await echo(gateway, msg, type(request)(1, big.inputs, (), request.reply_slot))

    await put_replica(nats.url, host_id())
    async with run_gateway(nats.url, grow) as gateway, connect(nats.url) as client:
        for _ in range(2):
            result = await client.invoke("echo", {"x": SMALL})
            np.testing.assert_array_equal(result.outputs["y"], LARGE)
        first, second = gateway.requests
        assert first.reply_slot is None
        assert second.reply_slot is not None
        assert second.reply_slot.size_bytes >= LARGE.nbytes


async def test_nobody_there_is_told_with_what_to_do(nats: Natsd) -> None:
    url = nats.url
    nats.kill()
    with pytest.raises(Exception, match=f"no platform at {url} .*start one with `fastgshare up`") as caught:
        async with connect(url, connect_timeout_s=0.3):
            pass
    assert type(caught.value).__name__ == "PlatformNotFound"


async def test_an_answer_in_parts_to_who_asked_for_one_is_withdrawn(nats: Natsd) -> None:
    async def parts(gateway: FakeGateway, msg: Msg, _request: InferRequest) -> None:
        await gateway.bus.publish(msg.reply, encode(InferReply(INFER_VERSION, more=True)))

    async with run_gateway(nats.url, parts) as gateway, connect(nats.url) as client:
        withdrawn: list[str] = []

        async def on_withdraw(msg: Msg) -> None:
            withdrawn.append(msg.subject)

        await gateway.bus.subscribe(subjects.withdraw(RequestId("*")), on_withdraw)
        await gateway.bus.connection.flush()
        with pytest.raises(RequestRefused, match="answers in parts"):
            await client.invoke("echo", {"x": SMALL}, timeout_s=20)
        with anyio.fail_after(20):
            while not withdrawn:
                await anyio.sleep(0.01)
