"""Triton's own HTTP client works unmodified: metadata, health, statistics, inference in each of its encodings."""

from collections.abc import Callable
from typing import Any, TypeVar

import anyio.to_thread
import numpy as np
import pytest
import tritonclient.http as triton
from msgspec.structs import replace
from tritonclient.utils import InferenceServerException

from fastgshare.gateway.http import HttpSettings
from fastgshare.gateway.ports import FunctionView
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import INFER_VERSION, FunctionSpec, InferReply, ReplicaState, Signature, Tensor
from fastgshare.shared.tensors import pack_bytes
from tests.gateway.http.serving import SPEC, VIEW, FakeInvoker, serving, strict

T = TypeVar("T")
ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)


async def with_client(port: int, use: Callable[[Any], T]) -> T:
    """What `use` does with a client, in a thread: the client is synchronous."""

    def run() -> T:
        client = triton.InferenceServerClient(f"127.0.0.1:{port}")
        try:
            return use(client)
        finally:
            client.close()

    return await anyio.to_thread.run_sync(run)


def input_of(array: Any, name: str = "x", *, binary: bool = True) -> Any:
    datatype = "BYTES" if array.dtype == object else "FP32"
    tensor = triton.InferInput(name, list(array.shape), datatype)
    return tensor.set_data_from_numpy(array, binary_data=binary)


def named(name: str) -> FunctionSpec:
    return replace(SPEC, name=FunctionName(name))


async def test_server_and_model_tell_of_themselves() -> None:
    async with serving(FakeInvoker()) as port:
        assert await with_client(port, lambda client: client.is_server_live())
        assert await with_client(port, lambda client: client.is_server_ready())
        assert await with_client(port, lambda client: client.is_model_ready("echo"))
        assert await with_client(port, lambda client: client.is_model_ready("echo", "3"))
        server = await with_client(port, lambda client: client.get_server_metadata())
        assert server["name"] == "fastgshare"
        assert "binary_tensor_data" in server["extensions"]
        metadata = await with_client(port, lambda client: client.get_model_metadata("echo"))
        assert metadata["versions"] == ["3"]
        assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
        config = await with_client(port, lambda client: client.get_model_config("echo", "3"))
        assert config["max_batch_size"] == SPEC.max_batch
        assert config["input"][0]["dims"] == [4]


async def test_statistics_come_for_one_model_and_for_all() -> None:
    invoker = FakeInvoker(VIEW, FunctionView(spec=named("other")))
    async with serving(invoker) as port:
        one = await with_client(port, lambda client: client.get_inference_statistics("echo"))
        every = await with_client(port, lambda client: client.get_inference_statistics())
    assert [entry["name"] for entry in one["model_stats"]] == ["echo"]
    assert one["model_stats"][0]["inference_stats"]["success"] == {"count": 0, "ns": 50_000}
    assert [entry["name"] for entry in every["model_stats"]] == ["echo", "other"]


async def test_the_index_lists_every_model_with_its_state() -> None:
    broken = FunctionView(spec=named("broken"), states={ReplicaState.FAILED: 1}, reasons=("no such file",))
    async with serving(FakeInvoker(VIEW, broken)) as port:
        index = await with_client(port, lambda client: client.get_model_repository_index())
    assert [(entry["name"], entry["state"], entry["reason"]) for entry in index] == [
        ("echo", "READY", ""),
        ("broken", "UNAVAILABLE", "no such file"),
    ]


async def test_what_is_not_ready_says_so() -> None:
    invoker = FakeInvoker(VIEW, FunctionView(spec=named("loading")))
    invoker.ready = False
    async with serving(invoker) as port:
        assert await with_client(port, lambda client: client.is_server_live())
        assert not await with_client(port, lambda client: client.is_server_ready())
        assert not await with_client(port, lambda client: client.is_model_ready("loading"))
        with pytest.raises(InferenceServerException, match="no replica has loaded yet") as caught:
            await with_client(port, lambda client: client.get_model_metadata("loading"))
    assert caught.value.status() == "503"


@pytest.mark.parametrize("binary_in", [True, False], ids=["binary_in", "json_in"])
@pytest.mark.parametrize("binary_out", [True, False, None], ids=["binary_out", "json_out", "default_out"])
async def test_numbers_come_back(binary_in: bool, binary_out: bool | None) -> None:
    outputs = None if binary_out is None else [triton.InferRequestedOutput("x", binary_data=binary_out)]
    invoker = FakeInvoker()
    async with serving(invoker) as port:
        result = await with_client(
            port,
            lambda client: client.infer(
                "echo", [input_of(ROWS, binary=binary_in)], outputs=outputs, request_id="seven"
            ),
        )
    assert np.array_equal(result.as_numpy("x"), ROWS)
    assert result.get_response()["id"] == "seven"
    assert result.get_response()["model_version"] == "3"
    assert invoker.asked[0].request.outputs == (() if outputs is None else ("x",))


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
async def test_text_comes_back(binary: bool) -> None:
    texts = np.array(["naïve", "", "x" * 300], dtype=object)
    async with serving(FakeInvoker()) as port:
        result = await with_client(
            port,
            lambda client: client.infer(
                "echo",
                [input_of(texts, binary=binary)],
                outputs=[triton.InferRequestedOutput("x", binary_data=binary)],
            ),
        )
    found = [element.decode() if isinstance(element, bytes) else element for element in result.as_numpy("x")]
    assert found == list(texts)


async def test_binary_and_json_inputs_and_outputs_mix() -> None:
    async with serving(FakeInvoker()) as port:
        result = await with_client(
            port,
            lambda client: client.infer(
                "echo",
                [input_of(ROWS, "a"), input_of(ROWS + 1, "b", binary=False), input_of(ROWS + 2, "c")],
                outputs=[
                    triton.InferRequestedOutput("a", binary_data=False),
                    triton.InferRequestedOutput("b", binary_data=True),
                    triton.InferRequestedOutput("c", binary_data=True),
                ],
            ),
        )
    for offset, name in enumerate("abc"):
        assert np.array_equal(result.as_numpy(name), ROWS + offset)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_compression_works_both_ways(coding: str) -> None:
    many = np.zeros((200, 4), dtype=np.float32)
    async with serving(FakeInvoker()) as port:
        result = await with_client(
            port,
            lambda client: client.infer(
                "echo",
                [input_of(many)],
                request_compression_algorithm=coding,
                response_compression_algorithm=coding,
            ),
        )
    assert np.array_equal(result.as_numpy("x"), many)


async def test_a_large_tensor_passes_through() -> None:
    image = np.random.default_rng(1).random((150, 1024), dtype=np.float32)
    async with serving(FakeInvoker()) as port:
        result = await with_client(port, lambda client: client.infer("echo", [input_of(image)]))
    assert np.array_equal(result.as_numpy("x"), image)


async def test_requests_in_parallel_get_their_own_answers() -> None:
    def use(client: Any) -> list[Any]:
        pending = [client.async_infer("echo", [input_of(ROWS + number)]) for number in range(20)]
        return [request.get_result().as_numpy("x") for request in pending]

    async with serving(FakeInvoker()) as port:
        for number, found in enumerate(await with_client(port, use)):
            assert np.array_equal(found, ROWS + number)


async def test_a_timeout_in_microseconds_becomes_the_deadline() -> None:
    def use(client: Any) -> None:
        client.infer("echo", [input_of(ROWS)])
        client.infer("echo", [input_of(ROWS)], timeout=2_000_000)

    invoker = FakeInvoker()
    async with serving(invoker) as port:
        await with_client(port, use)
    by_default, by_timeout = invoker.asked
    assert 2_000_000 < by_default.left_us <= HttpSettings().default_timeout_us
    assert by_timeout.left_us <= 2_000_000


@pytest.mark.parametrize(
    ("model", "array", "status", "said"),
    [
        ("nobody", ROWS, "404", "no function is called 'nobody'"),
        ("echo", ROWS[:, :3], "400", r"has shape \[2, 3\], expected \[-1, 4\]"),
        ("echo", np.array([["text"]], dtype=object), "400", "has datatype BYTES, expected FP32"),
    ],
)
async def test_refusals_reach_the_caller_in_words(model: str, array: Any, status: str, said: str) -> None:
    invoker = FakeInvoker()
    invoker.behaviour = strict
    async with serving(invoker) as port:
        with pytest.raises(InferenceServerException, match=said) as caught:
            await with_client(port, lambda client: client.infer(model, [input_of(array)]))
    assert caught.value.status() == status


async def test_overload_reaches_the_caller_in_words() -> None:
    invoker = FakeInvoker()
    full = InferReply(INFER_VERSION, error=ErrorBody(ErrorCode.OVERLOADED, "queue is full", 40))
    invoker.behaviour = lambda _: full
    async with serving(invoker) as port:
        with pytest.raises(InferenceServerException, match="queue is full") as caught:
            await with_client(port, lambda client: client.infer("echo", [input_of(ROWS)]))
    assert caught.value.status() == "429"


async def test_outputs_that_are_no_text_come_in_binary_only() -> None:
    blob = Tensor("x", "BYTES", (1,), memoryview(pack_bytes([b"\xff\xfe"])))
    invoker = FakeInvoker()
    invoker.behaviour = lambda _: InferReply(INFER_VERSION, (blob,))
    async with serving(invoker) as port:
        result = await with_client(port, lambda client: client.infer("echo", [input_of(ROWS)]))
        assert list(result.as_numpy("x")) == [b"\xff\xfe"]
        wanted = [triton.InferRequestedOutput("x", binary_data=False)]
        with pytest.raises(InferenceServerException, match="binary_data"):
            await with_client(port, lambda client: client.infer("echo", [input_of(ROWS)], outputs=wanted))


async def test_a_model_with_a_handler_tells_the_handlers_tensors() -> None:
    signature = Signature(inputs=(TensorSpec("file", "BYTES", (1,)),), outputs=(TensorSpec("label", "BYTES", (1,)),))
    view = FunctionView(spec=named("types"), generation=1, signature=signature, ready_replicas=1)
    async with serving(FakeInvoker(view)) as port:
        config = await with_client(port, lambda client: client.get_model_config("types"))
    assert config["max_batch_size"] == 0
    assert config["input"][0]["data_type"] == "TYPE_STRING"
    assert config["input"][0]["dims"] == [1]
