"""Messages on their way in: as many as there are places, whoever sends them and however slowly; the rest is told so."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import grpc
import grpc.aio
import pytest

from fastgshare.gateway.core.turned_away import TurnedAway
from fastgshare.gateway.grpc import GrpcSettings, table
from fastgshare.gateway.grpc.incoming import Places
from fastgshare.gateway.grpc.protos import health_pb2
from fastgshare.gateway.grpc.protos import inference_pb2 as pb
from fastgshare.gateway.http import BodyBudget
from fastgshare.gateway.ports import FunctionView
from fastgshare.shared.ids import FunctionName
from tests.gateway.grpc.door import serving
from tests.gateway.grpc.halfsent import FIRST_WINDOW, HalfSender
from tests.gateway.http.serving import FakeInvoker, until

PREFIX = "/inference.GRPCInferenceService/"
MIB = 1 << 20
PATIENCE_S = 20.0
FEW = GrpcSettings(max_message_bytes=MIB, max_incoming_bytes=4 * MIB, place_patience_s=0.05)


def request_of(size_bytes: int = 16) -> pb.ModelInferRequest:
    shape = [1, size_bytes // 4]
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=shape)
    return pb.ModelInferRequest(model_name="echo", inputs=[tensor], raw_input_contents=[bytes(size_bytes)])


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(address) as channel:
        yield channel


def call(channel: grpc.aio.Channel, name: str, messages: Any = None) -> Any:
    """A call that is open until `messages` end."""
    kind = channel.stream_stream if name == "ModelStreamInfer" else channel.stream_unary
    response = pb.ModelStreamInferResponse if name == "ModelStreamInfer" else pb.ModelInferResponse
    method: Any = kind(
        PREFIX + name,
        request_serializer=lambda message: message if isinstance(message, bytes) else message.SerializeToString(),
        response_deserializer=response.FromString,
    )
    return method(messages)


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> list[Places]:
    """Those of each door that is opened; of one, those of calls that need a key come first."""
    made: list[Places] = []

    class Seen(Places):
        def __init__(self, settings: GrpcSettings) -> None:
            super().__init__(settings)
            made.append(self)

    monkeypatch.setattr(table, "Places", Seen)
    return made


class Sender:
    """A caller that says nothing until it is told to."""

    def __init__(self) -> None:
        self.may_send = anyio.Event()

    async def messages(self) -> AsyncIterator[pb.ModelInferRequest]:
        await self.may_send.wait()
        yield request_of()


async def one(message: Any) -> AsyncIterator[Any]:
    yield message


async def refusal_of(calling: Any) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    if isinstance(calling, grpc.aio.StreamStreamCall):
        with suppress(grpc.aio.AioRpcError):  # a stream ends once its parts were taken
            while await calling.read() is not grpc.aio.EOF:
                pass
    return await calling.code(), await calling.details(), dict(await calling.trailing_metadata() or ())


async def until_let_in(calls: Callable[[], Any]) -> None:
    """Return once one of `calls` is answered: places that were given back are known here in a moment."""
    with anyio.fail_after(PATIENCE_S):
        while (await refusal_of(calls()))[0] is not grpc.StatusCode.OK:
            await anyio.sleep(0.01)


async def is_live(channel: grpc.aio.Channel) -> bool:
    live: Any = channel.unary_unary(PREFIX + "ServerLive", response_deserializer=pb.ServerLiveResponse.FromString)
    return bool((await live(b"")).live)


async def is_healthy(channel: grpc.aio.Channel) -> bool:
    answer = health_pb2.HealthCheckResponse
    check: Any = channel.unary_unary("/grpc.health.v1.Health/Check", response_deserializer=answer.FromString)
    return bool((await check(b"")).status == answer.SERVING)


async def test_no_more_messages_come_in_at_one_time_than_there_are_places(places: list[Places]) -> None:
    turned_away = TurnedAway()
    senders = [Sender() for _ in range(FEW.places)]
    async with serving(FakeInvoker(), settings=FEW, turned_away=turned_away) as address, opened(address) as channel:
        slow = [call(channel, "ModelInfer", sender.messages()) for sender in senders]
        await until(places[0]._free.locked)
        code, words, told = await refusal_of(call(channel, "ModelInfer", one(request_of(MIB // 2))))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert words == "4 messages are on their way in, the limit"
        assert (told["fastgshare-code"], told["retry-after-ms"]) == ("overloaded", "1000")
        assert turned_away.counted == {("grpc", "overloaded"): 1}
        assert await is_live(channel)  # whoever looks needs no place
        assert await is_healthy(channel)  # nor one of these
        senders[0].may_send.set()
        assert (await slow[0]).model_name == "echo"
        assert (await call(channel, "ModelInfer", one(request_of(MIB // 2)))).model_name == "echo"
        for calling in slow[1:]:
            calling.cancel()
        await until_let_in(lambda: call(channel, "ModelInfer", one(request_of())))


async def test_who_needs_no_key_takes_no_place_from_who_has_one() -> None:
    check = "/grpc.health.v1.Health/Check"
    async with serving(FakeInvoker(), settings=FEW) as address, opened(address) as channel:
        method: Any = channel.stream_unary(check, request_serializer=bytes)
        silent = [method(Sender().messages()) for _ in range(3 * FEW.places)]
        for _ in range(20):
            assert (await call(channel, "ModelInfer", one(request_of()))).model_name == "echo"
        for calling in silent:
            assert (await refusal_of(calling))[0] is not grpc.StatusCode.OK
        assert await is_healthy(channel)


async def test_streams_leave_places_to_calls_and_give_theirs_back_when_they_say_no_more(places: list[Places]) -> None:
    senders = [Sender() for _ in range(FEW.streams)]
    async with serving(FakeInvoker(), settings=FEW) as address, opened(address) as channel:
        streams = [call(channel, "ModelStreamInfer", sender.messages()) for sender in senders]
        await until(lambda: places[0]._streams == FEW.streams)
        code, words, told = await refusal_of(call(channel, "ModelStreamInfer", one(request_of())))
        assert (code, told["retry-after-ms"]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "1000")
        assert words == "the callers of 3 streams may send, the limit"
        assert (await call(channel, "ModelInfer", one(request_of()))).model_name == "echo"
        senders[0].may_send.set()
        assert len([part async for part in streams[0]]) == 1
        await until_let_in(lambda: call(channel, "ModelStreamInfer", one(request_of())))
        await until(lambda: places[0]._streams == FEW.streams - 1)
        senders.append(Sender())
        taken = call(channel, "ModelStreamInfer", senders[-1].messages())
        await until(lambda: places[0]._streams == FEW.streams)
        refused = await refusal_of(call(channel, "ModelStreamInfer", one(request_of())))
        assert refused[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        streams[1].cancel()
        await until_let_in(lambda: call(channel, "ModelStreamInfer", one(request_of())))
        for calling in (streams[2], taken):
            calling.cancel()


async def test_a_message_that_does_not_come_is_not_waited_for_forever() -> None:
    settings = GrpcSettings(message_timeout_s=0.05)
    async with serving(FakeInvoker(), settings=settings) as address, opened(address) as channel:
        code, words, _ = await refusal_of(call(channel, "ModelInfer", Sender().messages()))
        assert (code, words) == (grpc.StatusCode.DEADLINE_EXCEEDED, "the message did not arrive within 0.05 s")


async def test_what_is_no_message_is_refused_in_words() -> None:
    async with serving(FakeInvoker()) as address, opened(address) as channel:
        code, words, _ = await refusal_of(call(channel, "ModelInfer", one(b"\xff\xff")))
        assert (code, words) == (grpc.StatusCode.INVALID_ARGUMENT, "the message is not what this call takes")
        parts = [part async for part in call(channel, "ModelStreamInfer", one(b"\xff\xff"))]
        assert [part.error_message for part in parts] == ["the message is not what this call takes"]


async def test_calls_beyond_the_limit_are_told_to_come_back() -> None:
    invoker = FakeInvoker()
    invoker.go = anyio.Event()
    async with (
        serving(invoker, settings=GrpcSettings(max_calls=2)) as address,
        opened(address) as first,
        grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as second,
    ):
        waiting = [call(first, "ModelInfer", one(request_of())) for _ in range(2)]
        await until(lambda: invoker.waiting == 2)
        code, words, told = await refusal_of(call(second, "ModelInfer", one(request_of())))
        assert (code, told["retry-after-ms"]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "1000")
        assert words == "2 calls are under way, the limit"
        invoker.go.set()
        for calling in waiting:
            assert (await calling).model_name == "echo"


async def test_what_has_come_is_held_until_it_is_answered() -> None:
    invoker, budget = FakeInvoker(), BodyBudget()
    invoker.go = anyio.Event()
    async with serving(invoker, budget=budget) as address, opened(address) as channel:
        waiting = call(channel, "ModelInfer", one(request_of(MIB)))
        await until(lambda: invoker.waiting == 1)
        assert MIB < budget.held_bytes < MIB + 100
        invoker.go.set()
        await waiting
        await until(lambda: budget.held_bytes == 0)


async def test_refusals_of_every_call_are_counted() -> None:
    turned_away = TurnedAway()
    async with serving(FakeInvoker(), turned_away=turned_away) as address, opened(address) as channel:
        for name, message in (
            ("ModelMetadata", pb.ModelMetadataRequest(name="none")),
            ("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="none")),
            ("ModelInfer", pb.ModelInferRequest(model_name="none")),
        ):
            assert (await refusal_of(call(channel, name, one(message))))[0] is grpc.StatusCode.NOT_FOUND
        hasty = request_of()
        hasty.parameters["timeout"].string_param = "soon"
        assert (await refusal_of(call(channel, "ModelInfer", one(hasty))))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert turned_away.counted == {("grpc", "not_found"): 3, ("grpc", "invalid"): 1}


async def test_a_fault_of_ours_counts_and_is_told_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: FunctionName) -> FunctionView | None:
        raise ZeroDivisionError

    invoker, turned_away = FakeInvoker(), TurnedAway()
    monkeypatch.setattr(invoker, "describe", broken)
    async with serving(invoker, turned_away=turned_away) as address, opened(address) as channel:
        code, words, _ = await refusal_of(call(channel, "ModelReady", one(pb.ModelReadyRequest(name="echo"))))
        assert (code, words) == (grpc.StatusCode.INTERNAL, "internal error")
    assert turned_away.counted == {("grpc", "internal"): 1}
    assert [record.message for record in caplog.records] == ["ModelReady failed"]


async def test_whoever_sends_however_much_the_bytes_on_their_way_in_are_bounded() -> None:
    settings = GrpcSettings(max_message_bytes=4 * MIB, max_incoming_bytes=8 * MIB, place_patience_s=60)
    senders = [HalfSender(4 * MIB) for _ in range(24)]
    async with serving(FakeInvoker(), settings=settings) as address, anyio.create_task_group() as tasks:
        host, port = address.split(":")
        for sender in senders:
            tasks.start_soon(sender.run, host, int(port))
        await until(lambda: sum(sender.is_sent for sender in senders) == settings.places)
        await until(lambda: all(sender.sent_bytes >= FIRST_WINDOW for sender in senders))
        async with opened(address) as channel:  # the server has seen to what came, and lets no more through
            for _ in range(20):
                await is_live(channel)
        assert sum(sender.is_sent for sender in senders) == settings.places
        waiting = [sender.sent_bytes for sender in senders if not sender.is_sent]
        assert max(waiting) <= 2 * FIRST_WINDOW
        tasks.cancel_scope.cancel()
