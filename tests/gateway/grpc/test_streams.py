"""`ModelStreamInfer`: answers in the order of requests, refusals that cost themselves, and a bound on what runs."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

import anyio
import grpc

from fastgshare.gateway.grpc import GrpcSettings
from fastgshare.gateway.grpc.protos.inference_pb2 import ModelInferRequest, ModelStreamInferResponse
from fastgshare.shared.messages import INFER_VERSION, InferReply, InferRequest, Tensor
from tests.gateway.grpc.door import serving
from tests.gateway.http.serving import FakeInvoker, until

METHOD = "/inference.GRPCInferenceService/ModelStreamInfer"
PARTS = 3


def request_of(request_id: str, name: str = "echo") -> ModelInferRequest:
    tensor = ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])
    return ModelInferRequest(model_name=name, id=request_id, inputs=[tensor], raw_input_contents=[bytes(16)])


def in_parts(request: InferRequest) -> Iterable[InferReply]:
    for number in range(PARTS):
        yield InferReply(INFER_VERSION, request.inputs, part=number, more=True)
    yield InferReply(INFER_VERSION, part=PARTS)


async def stream(address: str, requests: AsyncIterator[ModelInferRequest]) -> list[ModelStreamInferResponse]:
    async with grpc.aio.insecure_channel(address) as channel:
        call: Any = channel.stream_stream(
            METHOD,
            request_serializer=ModelInferRequest.SerializeToString,
            response_deserializer=ModelStreamInferResponse.FromString,
        )
        return [response async for response in call(requests)]


async def test_each_request_is_answered_in_its_turn() -> None:
    invoker = FakeInvoker()
    invoker.parts = in_parts

    async def requests() -> AsyncIterator[ModelInferRequest]:
        yield request_of("a")
        yield request_of("b", "nobody")
        last = request_of("c")
        last.parameters["triton_enable_empty_final_response"].bool_param = True
        yield last

    async with serving(invoker) as address:
        said = await stream(address, requests())
    assert [(one.infer_response.id, bool(one.error_message)) for one in said] == [
        *[("a", False)] * PARTS,
        ("b", True),
        *[("c", False)] * (PARTS + 1),
    ]
    finals = [one.infer_response.parameters["triton_final_response"].bool_param for one in said]
    assert finals == [False] * PARTS + [True] + [False] * PARTS + [True]


async def test_no_more_run_at_one_time_than_may() -> None:
    invoker = FakeInvoker()
    invoker.go = anyio.Event()
    read = 0

    async def requests() -> AsyncIterator[ModelInferRequest]:
        nonlocal read
        for number in range(40):
            read += 1
            yield request_of(str(number))

    async with serving(invoker, settings=GrpcSettings(requests_per_stream=4)) as address:
        said: list[ModelStreamInferResponse] = []

        async def ask() -> None:
            said.extend(await stream(address, requests()))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await until(lambda: invoker.waiting >= 4)
            await anyio.sleep(0.05)
            assert invoker.waiting <= 5
            invoker.go.set()
    assert [one.infer_response.id for one in said] == [str(number) for number in range(40)]
    assert invoker.closed == 40


async def test_who_cancels_is_answered_no_more() -> None:
    invoker = FakeInvoker()
    invoker.go = anyio.Event()

    async def requests() -> AsyncIterator[ModelInferRequest]:
        yield request_of("a")
        yield request_of("b")
        await anyio.sleep_forever()

    async with serving(invoker) as address:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stream, address, requests())
            await until(lambda: invoker.waiting == 2)
            tasks.cancel_scope.cancel()
        await until(lambda: invoker.closed == 2)
        assert invoker.cancelled == 2


async def test_who_does_not_take_its_parts_loses_the_stream() -> None:
    invoker = FakeInvoker()
    ones = Tensor("x", "UINT8", (4 << 20,), memoryview(bytes(4 << 20)))
    invoker.parts = lambda _: (InferReply(INFER_VERSION, (ones,), part=number, more=True) for number in range(10_000))

    async def requests() -> AsyncIterator[ModelInferRequest]:
        yield request_of("a")
        await anyio.sleep_forever()

    unbounded = [("grpc.max_receive_message_length", -1)]
    async with (
        serving(invoker, settings=GrpcSettings(taken_within_s=0.2)) as address,
        grpc.aio.insecure_channel(address, options=unbounded) as channel,
    ):
        method: Any = channel.stream_stream(METHOD, request_serializer=ModelInferRequest.SerializeToString)
        call: Any = method(requests())
        assert await call.read()
        await until(lambda: invoker.closed == 1)
