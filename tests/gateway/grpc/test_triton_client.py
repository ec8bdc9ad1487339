"""Triton's own gRPC clients work unmodified: metadata, health, statistics, inference, the repository."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from msgspec.structs import replace
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from fastgshare.gateway.grpc import GrpcSettings
from fastgshare.gateway.grpc.protos.inference_pb2 import ModelInferRequest
from fastgshare.gateway.http import BodyBudget
from fastgshare.gateway.ports import FunctionView, Scope
from fastgshare.shared.arrays import DTYPES
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import INFER_VERSION, Autoscale, InferReply, InferRequest, ReplicaState
from tests.gateway.grpc.door import ROWS, client, input_of, serving, with_client
from tests.gateway.http.serving import ECHO, PATIENCE_S, SPEC, VIEW, FakeFunctions, FakeInvoker, strict, until

PARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


async def refused(address: str, call: str, *args: Any, **options: Any) -> InferenceServerException:
    async with client(address) as triton_client:
        with pytest.raises(InferenceServerException) as info:
            await getattr(triton_client, call)(*args, **options)
    return info.value


async def test_server_and_model_tell_of_themselves() -> None:
    async with serving(FakeInvoker()) as address, client(address) as asked:
        assert await asked.is_server_live()
        assert await asked.is_server_ready()
        assert await asked.is_model_ready("echo", "3")
        server = await asked.get_server_metadata()
        assert server.name == "fastgshare"
        metadata = await asked.get_model_metadata("echo")
        assert list(metadata.versions) == ["3"]
        assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in metadata.inputs] == [
            ("x", "FP32", [-1, 4])
        ]
        config = (await asked.get_model_config("echo", "3")).config
        assert config.max_batch_size == SPEC.max_batch
        assert list(config.input[0].dims) == [4]
        assert config.parameters["slo_ms"].string_value == f"{SPEC.slo_ms:g}"


async def test_statistics_and_index() -> None:
    other = replace(SPEC, name=FunctionName("other"))
    broken = FunctionView(spec=other, states={ReplicaState.FAILED: 1}, reasons=("no such file",))
    async with serving(FakeInvoker(VIEW, broken)) as address, client(address) as asked:
        one = await asked.get_inference_statistics("echo")
        every = await asked.get_inference_statistics()
        index = await asked.get_model_repository_index()
    assert one.model_stats[0].inference_stats.success.ns == 50_000
    assert [entry.name for entry in every.model_stats] == ["echo", "other"]
    assert [(model.name, model.state, model.reason) for model in index.models] == [
        ("echo", "READY", ""),
        ("other", "UNAVAILABLE", "no such file"),
    ]


async def test_what_goes_in_comes_out_with_its_id() -> None:
    async with serving(FakeInvoker()) as address:
        result = await with_client(address, lambda asked: asked.infer("echo", [input_of(ROWS)], request_id="r1"))
    np.testing.assert_array_equal(result.as_numpy("x"), ROWS)
    assert result.get_response().id == "r1"
    assert result.get_response().model_version == "3"


@pytest.mark.parametrize("datatype", [*DTYPES, "BYTES"])
async def test_every_datatype_passes(datatype: str) -> None:
    array = np.array([[1, 0, 1, 1]])
    array = array.astype(str).astype(object) if datatype == "BYTES" else array.astype(DTYPES[datatype])
    assert datatype == "BYTES" or np_to_triton_dtype(array.dtype) == datatype
    async with serving(FakeInvoker()) as address, client(address) as asked:
        result = await asked.infer("echo", [input_of(array, datatype=datatype)])
    got = result.as_numpy("x")
    assert got.tolist() == ([[b"1", b"0", b"1", b"1"]] if datatype == "BYTES" else array.tolist())


async def test_a_refusal_has_its_words_its_status_and_when_to_come_back() -> None:
    invoker = FakeInvoker()
    invoker.behaviour = lambda _: InferReply(INFER_VERSION, error=ErrorBody(ErrorCode.OVERLOADED, "too much", 250))
    async with serving(invoker) as address, grpc.aio.insecure_channel(address) as channel:
        infer: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.aio.AioRpcError) as info:
            await infer(ModelInferRequest(model_name="echo").SerializeToString())
    assert info.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert info.value.details() == "too much"
    assert dict(info.value.trailing_metadata()) == {"fastgshare-code": "overloaded", "retry-after-ms": "250"}


async def test_what_is_not_known_or_wrong_is_said() -> None:
    invoker = FakeInvoker()
    invoker.behaviour = strict
    async with serving(invoker) as address:
        unknown = await refused(address, "infer", "nothing", [input_of(ROWS)])
        version = await refused(address, "get_model_metadata", "echo", "7")
        shape = await refused(address, "infer", "echo", [input_of(ROWS[:, :3])])
        region = triton.InferInput("x", [2, 4], "FP32")
        region.set_shared_memory("there", 32)
        elsewhere = await refused(address, "infer", "echo", [region])
        state = await refused(address, "infer", "echo", [input_of(ROWS)], sequence_id=3)
    assert "NOT_FOUND" in str(unknown.status())
    assert "'nothing'" in unknown.message()
    assert "has version '3'" in version.message()
    assert "has shape [2, 3]" in shape.message()
    assert "INVALID_ARGUMENT" in str(shape.status())
    assert "shared memory" in elsewhere.message()
    assert "sequence_id" in state.message()


async def test_a_fault_inside_says_nothing_of_itself() -> None:
    invoker = FakeInvoker()

    def fail(_: InferRequest) -> InferReply:
        raise ZeroDivisionError("secret")

    invoker.behaviour = fail
    async with serving(invoker) as address:
        error = await refused(address, "infer", "echo", [input_of(ROWS)])
    assert error.message() == "internal error"
    assert "INTERNAL" in str(error.status())


async def test_the_calls_deadline_and_its_timeout_are_the_requests() -> None:
    invoker = FakeInvoker()
    settings = GrpcSettings(default_timeout_us=7_000_000, max_timeout_us=60_000_000)
    async with serving(invoker, settings=settings) as address, client(address) as asked:
        await asked.infer("echo", [input_of(ROWS)])
        await asked.infer("echo", [input_of(ROWS)], client_timeout=30)
        await asked.infer("echo", [input_of(ROWS)], timeout=2_000_000)
        await asked.infer("echo", [input_of(ROWS)], client_timeout=900)
    left = [asked.left_us / 1e6 for asked in invoker.asked]
    assert 6 < left[0] <= 7
    assert 20 < left[1] <= 31  # gRPC rounds what is left up
    assert 1.5 < left[2] <= 2
    assert 50 < left[3] <= 60


async def test_a_traceparent_is_continued() -> None:
    invoker = FakeInvoker()
    async with serving(invoker) as address, client(address) as asked:
        await asked.infer("echo", [input_of(ROWS)], headers={"traceparent": PARENT})
    trace = invoker.asked[0].trace
    assert (trace.trace_id, trace.sampled) == ("a" * 32, True)
    assert trace.span_id != "b" * 16


async def test_a_caller_that_hangs_up_is_not_waited_for() -> None:
    invoker = FakeInvoker()
    invoker.go = anyio.Event()
    async with serving(invoker) as address, client(address) as asked:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(asked.infer, "echo", [input_of(ROWS)])
            await until(lambda: invoker.waiting == 1)
            tasks.cancel_scope.cancel()
        await until(lambda: invoker.cancelled == 1)


class OneKey:
    """Lets in who shows the key, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, Scope, FunctionName | None]] = []

    def hear(self, key: str | None, scope: Scope, now_us: int) -> ErrorBody | None:
        return None if key == "sesame" else ErrorBody(ErrorCode.UNAUTHORIZED, "no such key")

    def admit(self, key: str | None, scope: Scope, function: FunctionName | None, now_us: int) -> ErrorBody | None:
        self.asked.append((key, scope, function))
        return None if key == "sesame" else ErrorBody(ErrorCode.UNAUTHORIZED, "no such key")


async def test_the_doorkeeper_is_asked_for_all_but_health() -> None:
    keeper = OneKey()
    async with serving(FakeInvoker(), doorkeeper=keeper) as address:
        async with client(address) as asked:
            assert await asked.is_server_live()
            assert await asked.is_server_ready()
            assert keeper.asked == []
            await asked.infer("echo", [input_of(ROWS)], headers={"authorization": "Bearer sesame"})
            await asked.get_server_metadata(headers={"x-api-key": "sesame"})
        error = await refused(address, "infer", "echo", [input_of(ROWS)])
        hidden = await refused(address, "get_model_metadata", "nothing")
    assert "UNAUTHENTICATED" in str(error.status())
    assert "UNAUTHENTICATED" in str(hidden.status())
    assert keeper.asked[:2] == [("sesame", Scope.INVOKE, ECHO), ("sesame", Scope.READ, None)]


async def test_who_shows_no_key_is_refused_before_the_message_is_there() -> None:
    async def silent() -> AsyncIterator[Any]:
        await anyio.sleep_forever()
        yield None

    async with serving(FakeInvoker(), doorkeeper=OneKey()) as address, grpc.aio.insecure_channel(address) as channel:
        for method in ("ModelInfer", "ModelStreamInfer", "ServerMetadata"):
            call: Any = channel.stream_stream(f"/inference.GRPCInferenceService/{method}")(silent())
            with anyio.fail_after(PATIENCE_S):
                assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
                assert await call.details() == "no such key"


async def test_messages_count_among_the_bodies_that_the_gateway_holds() -> None:
    invoker = FakeInvoker()
    invoker.go = anyio.Event()
    budget = BodyBudget(300)
    large = np.zeros((1, 50), np.float32)
    async with serving(invoker, budget=budget) as address, client(address) as asked, anyio.create_task_group() as tasks:
        tasks.start_soon(asked.infer, "echo", [input_of(large)])
        await until(lambda: invoker.waiting == 1)
        assert budget.held_bytes > large.nbytes
        error = await refused(address, "infer", "echo", [input_of(large)])
        assert "the gateway holds" in str(error)
        invoker.go.set()
    assert budget.held_bytes == 0


async def test_loading_and_unloading_is_scaling() -> None:
    functions = FakeFunctions()
    idle = replace(VIEW, spec=replace(SPEC, replicas=0))
    growing = replace(VIEW, spec=replace(SPEC, name=FunctionName("growing"), autoscale=Autoscale(min=0, max=2)))
    functions.specs = {ECHO: idle.spec, growing.spec.name: growing.spec}
    async with serving(FakeInvoker(idle, growing), functions) as address:
        async with client(address) as asked:
            await asked.load_model("echo")
            assert functions.specs[ECHO].replicas == 1
            await asked.unload_model("echo")
            assert functions.specs[ECHO].replicas == 0
            await asked.load_model("growing")
        assert functions.specs[growing.spec.name].autoscale is not None
        configured = await refused(address, "load_model", "echo", config="{}")
        itself = await refused(address, "unload_model", "growing")
    assert "by deploying it" in configured.message()
    assert "scales by itself" in itself.message()


async def test_a_message_above_the_limit_is_refused() -> None:
    settings = GrpcSettings(max_message_bytes=1 << 20)
    large = np.zeros((1 << 17, 4), np.float32)
    async with serving(FakeInvoker(), settings=settings) as address:
        error = await refused(address, "infer", "echo", [input_of(large)])
        assert "RESOURCE_EXHAUSTED" in str(error.status())
        async with client(address) as asked:
            await asked.infer("echo", [input_of(ROWS)])
