"""What is deployed answers rightly through every door, in batches, with small and large tensors of every kind."""

import os
from collections import Counter
from pathlib import Path

import anyio
import msgspec
import numpy as np
import pytest
import tritonclient.http as triton

from fastgshare.client import Client, Result
from fastgshare.shared import subjects
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import ProfileState
from tests.integration import functions, models
from tests.integration.doors import (
    deployed,
    json_body,
    post,
    refusal,
    replicas_of,
    rows,
    triton_input,
    until,
    with_triton,
)
from tests.integration.world import World, slots_of

LARGE = (600 << 10) // 4
TOO_LARGE = (9 << 20) // 4


async def test_over_nats_packed_and_as_json(world: World, tmp_path: Path) -> None:
    async with deployed(world, functions.times("double", tmp_path, 2.0)) as client:
        result = await client.invoke("double", {"x": rows(1.5)})
        np.testing.assert_array_equal(result.outputs["y"], rows(3.0))
        assert result.timing is not None
        assert result.timing.batch == 1
        payload = msgspec.json.encode(json_body({"x": rows(1.5, width=2)}))
        answer = await client.bus.request(subjects.invoke(FunctionName("double")), payload, 20.0)
        document = msgspec.json.decode(answer.data)
        assert document["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [3.0, 3.0]}]


async def test_over_http_as_json(world: World, tmp_path: Path) -> None:
    async with deployed(world, functions.times("double", tmp_path, 2.0)):
        response = await post(world, "double", json_body({"x": rows(1.5, 2.5, width=2)}))
        assert response.status_code == 200
        output = response.json()["outputs"][0]
        assert (output["name"], output["shape"], output["data"]) == ("y", [2, 2], [3.0, 3.0, 5.0, 5.0])


async def test_tritons_client_finds_everything_it_asks_for(world: World, tmp_path: Path) -> None:
    async with deployed(world, functions.times("standard", tmp_path, 2.0)):

        def use(client: triton.InferenceServerClient) -> None:
            assert client.is_server_live()
            assert client.is_server_ready()
            assert client.is_model_ready("standard")
            metadata = client.get_model_metadata("standard")
            assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, -1]}]
            assert client.get_model_config("standard")["max_batch_size"] == 8
            for _ in range(3):
                answer = client.infer("standard", [triton_input("x", rows(1.5, 2.5), "FP32")])
                np.testing.assert_array_equal(answer.as_numpy("y"), rows(3.0, 5.0))
            stats = client.get_inference_statistics("standard")["model_stats"][0]
            assert stats["inference_stats"]["success"]["count"] == 3
            assert stats["inference_count"] == 3

        await with_triton(world, use)


async def test_large_tensors_travel_both_ways_and_leave_nothing_in_shared_memory(world: World, tmp_path: Path) -> None:
    large = np.arange(LARGE, dtype=np.float32).reshape(1, LARGE)
    async with deployed(world, functions.times("double", tmp_path, 2.0)) as client:
        for _ in range(4):
            results: list[Result] = []
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(_collect, client, "double", large, results)
            for result in results:
                np.testing.assert_array_equal(result.outputs["y"], large * 2)
        assert 1 <= len(slots_of({os.getpid()})) <= 3

        def use(triton_client: triton.InferenceServerClient) -> None:
            answer = triton_client.infer("double", [triton_input("x", large, "FP32")])
            np.testing.assert_array_equal(answer.as_numpy("y"), large * 2)

        await with_triton(world, use)
    assert slots_of({os.getpid()}) == []


async def test_what_exceeds_a_message_goes_through_shared_memory_or_is_refused_with_the_limit(
    world: World, tmp_path: Path
) -> None:
    huge = np.ones((1, TOO_LARGE), np.float32)
    async with deployed(
        world, functions.times("double", tmp_path, 2.0), functions.function("grow", models.grow(tmp_path / "grow.onnx"))
    ) as client:
        result = await client.invoke("double", {"x": huge})
        np.testing.assert_array_equal(result.outputs["y"], huge * 2)
        error = await refusal(client.invoke("grow", {"length": np.array([[TOO_LARGE]])}))
        assert (error.code, error.http_status) == ("too_large", 413)
        assert str(client.bus.max_payload_bytes) in error.message
        response = await post(world, "double", {**json_body({"x": rows(1)}), "padding": "x" * (9 << 20)})
        assert response.status_code == 413
        assert str(8 << 20) in response.json()["error"]
    assert slots_of({os.getpid()}) == []


async def test_requests_that_wait_together_run_together(world: World, tmp_path: Path) -> None:
    # Short, so that even on a slow machine two rows fit the tenth of a window that batches have on shared cores.
    async with deployed(world, functions.slow("slow", tmp_path, 4, max_batch=4)) as client:
        results: list[Result] = []
        async with anyio.create_task_group() as tasks:
            for number in range(24):
                tasks.start_soon(_collect, client, "slow", rows(number), results)
        sizes = [result.timing.batch for result in results if result.timing is not None]
        assert len(sizes) == 24
        assert 2 <= max(sizes) <= 4
        assert sorted(float(result.outputs["y"][0, 0]) for result in results) == list(range(24))


async def test_bytes_and_integers_arrive_as_they_were(world: World, tmp_path: Path) -> None:
    words = functions.function("words", models.words_and_numbers(tmp_path / "words.onnx"))
    async with deployed(world, words) as client:
        word = np.array([["größer"], [""]], dtype=object)
        result = await client.invoke("words", {"word": word, "number": np.array([[41], [-1]])})
        assert result.outputs["said"].tolist() == [["größer".encode()], [b""]]
        assert result.outputs["next"].tolist() == [[42], [0]]
        response = await post(world, "words", json_body({"word": word, "number": np.array([[41], [-1]])}))
        assert [output["data"] for output in response.json()["outputs"]] == [["größer", ""], [42, 0]]


async def test_a_model_of_two_inputs_and_a_choice_of_outputs(world: World, tmp_path: Path) -> None:
    total = functions.function("total", models.total(tmp_path / "total.onnx"))
    words = functions.function("words", models.words_and_numbers(tmp_path / "words.onnx"))
    async with deployed(world, total, words) as client:
        result = await client.invoke("total", {"b": rows(1, 2, width=4), "a": rows(10, 20, width=4)})
        np.testing.assert_array_equal(result.outputs["sum"], rows(11, 22, width=4))
        inputs = {"word": np.array([[b"a"]], dtype=object), "number": np.array([[1]])}
        chosen = await client.invoke("words", inputs, outputs=["next"])
        assert list(chosen.outputs) == ["next"]
        error = await refusal(client.invoke("words", inputs, outputs=["last"]))
        assert error.http_status == 400
        assert "expected some of ['said', 'next']" in error.message


async def test_a_handler_works_before_and_after_the_model(world: World, tmp_path: Path) -> None:
    async with deployed(world, functions.moody("moody", tmp_path, 3.0)) as client:
        result = await client.invoke("moody", {"mood": b"fine", "x": np.ones(4, np.float32)})
        assert result.outputs["y"].tolist() == [3.0] * 4
        body = json_body({"mood": np.array(["fine"], dtype=object), "x": np.ones(4, np.float32)})
        response = await post(world, "moody", body)
        assert response.json()["outputs"][0]["data"] == [3.0] * 4


@pytest.mark.timeout(120)
async def test_a_profile_is_measured_and_decides_what_is_admitted(world: World, tmp_path: Path) -> None:
    async with deployed(world, functions.slow("slow", tmp_path, 50, max_batch=2)) as client:
        reports = [report async for report in client.profile("slow")]
        assert reports[-1].state is ProfileState.COMPLETE, reports[-1]
        (profile,) = await client.profiles("slow")
        assert profile.axes is not None
        assert profile.axes.batches == (1, 2)
        assert len(profile.surface) > len(profile.points)
        once_us = min(point.device_us for point in profile.points if point.batch == 1)
        assert once_us > 1_000

        async def refused_at_once() -> bool:
            error = await refusal(client.invoke("slow", {"x": rows(1)}, timeout_s=once_us / 4e6))
            return error.code == "overloaded" and "would answer" in error.message

        await until(refused_at_once)  # the gateway may learn of the table a moment later
        result = await client.invoke("slow", {"x": rows(1)})
        np.testing.assert_array_equal(result.outputs["y"], rows(1))


async def test_a_function_is_scaled_to_two_and_back(world: World, tmp_path: Path) -> None:
    async with deployed(world, functions.slow("slow", tmp_path, 40, max_batch=1)) as client:
        await client.scale("slow", 2)
        served: Counter[str] = Counter()

        async def both_serve() -> bool:
            results: list[Result] = []
            async with anyio.create_task_group() as tasks:
                for number in range(12):
                    tasks.start_soon(_collect, client, "slow", rows(number), results)
            served.update(str(result.replica) for result in results)
            return len(served) == 2

        await until(both_serve)
        await client.scale("slow", 1)

        async def one_is_left() -> bool:
            return len(await replicas_of(client, "slow")) == 1

        await until(one_is_left)
        result = await client.invoke("slow", {"x": rows(5)})
        np.testing.assert_array_equal(result.outputs["y"], rows(5))


async def _collect(client: Client, function: str, x: np.ndarray, results: list[Result]) -> None:
    results.append(await client.invoke(function, {"x": x}, timeout_s=40.0))
