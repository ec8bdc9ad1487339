"""Answers in parts through every door, each part before the next is made; who leaves early stops what is left."""

import json
from contextlib import aclosing
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import anyio
import anyio.to_thread
import httpx
import numpy as np
import tritonclient.grpc as triton_sync
import tritonclient.grpc.aio as triton

from fastgshare.client import Client, FunctionDefinition, Result
from fastgshare.shared import subjects
from fastgshare.shared.arrays import Array
from fastgshare.shared.codec import decode
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.messages import GatewayLoad
from tests.integration import functions
from tests.integration.doors import deployed, refusal, until
from tests.integration.world import World

TIMEOUT_S = 40.0


def counter(name: str, directory: Path) -> FunctionDefinition:
    return functions.handled(name, directory, "counter.py", "Counter")


def asked(desk: Path, parts: int, *, waits: bool = False, raises: bool = False) -> dict[str, Array]:
    x = np.array([parts, waits, raises, 2.0], np.float32)
    return {"desk": np.array([str(desk).encode()], object), "x": x}


def as_json(inputs: dict[str, Array]) -> dict[str, Any]:
    x = {"name": "x", "datatype": "FP32", "shape": [4], "data": inputs["x"].tolist()}
    desk = {"name": "desk", "datatype": "BYTES", "shape": [1], "data": [inputs["desk"][0].decode()]}
    return {"id": "mine", "inputs": [desk, x]}


def triton_inputs(inputs: dict[str, Array]) -> list[Any]:
    tensors = [triton.InferInput("desk", [1], "BYTES"), triton.InferInput("x", [4], "FP32")]
    return [tensor.set_data_from_numpy(inputs[tensor.name()]) for tensor in tensors]


def parts_of(results: list[Result]) -> list[tuple[int, float]]:
    return [(int(result.outputs["part"][0]), float(result.outputs["y"][0])) for result in results]


async def outstanding(client: Client, name: str) -> int:
    """What the gateway still has open of a function, by its next word."""
    subscription = await client.bus.connection.subscribe(subjects.LOAD_ALL)
    try:
        load = decode(GatewayLoad, (await subscription.next_msg(TIMEOUT_S)).data)
    finally:
        await subscription.unsubscribe()
    functions = {str(function): counts for function, counts in load.functions.items()}
    return functions[name].outstanding + functions[name].held


async def is_let_go(client: Client, name: str, desk: Path, made: str) -> bool:
    """Whether the handler was closed after so many parts, and nothing is open any more."""
    note = desk / "made"
    return note.exists() and note.read_text() == made and await outstanding(client, name) == 0


async def test_over_nats_each_part_comes_before_the_next_is_made(world: World, name: str, tmp_path: Path) -> None:
    async with deployed(world, counter(name, tmp_path)) as client:
        got = []
        async for result in client.invoke_stream(name, asked(tmp_path, 4, waits=True), timeout_s=TIMEOUT_S):
            got.append(result)
            (tmp_path / "go").touch()
        assert parts_of(got) == [(0, 0.0), (1, 2.0), (2, 4.0), (3, 6.0)]
        await until(lambda: is_let_go(client, name, tmp_path, "4"))
        empty = client.invoke_stream(name, asked(tmp_path, 0), timeout_s=TIMEOUT_S)
        assert [result async for result in empty] == []
        some = client.invoke_stream(name, asked(tmp_path, 2), outputs=["y"], timeout_s=TIMEOUT_S)
        assert [list(result.outputs) async for result in some] == [["y"], ["y"]]


async def test_streams_run_side_by_side(world: World, name: str, tmp_path: Path) -> None:
    async with deployed(world, counter(name, tmp_path)) as client:
        waiting = client.invoke_stream(name, asked(tmp_path, 3, waits=False), timeout_s=TIMEOUT_S)
        async with aclosing(waiting):
            first = await anext(waiting)
            other = client.invoke_stream(name, asked(tmp_path, 50), timeout_s=TIMEOUT_S)
            assert len([result async for result in other]) == 50
            assert len(parts_of([first, *[result async for result in waiting]])) == 3


async def test_an_error_in_the_middle_ends_the_stream(world: World, name: str, tmp_path: Path) -> None:
    async with deployed(world, counter(name, tmp_path)) as client:
        stream = client.invoke_stream(name, asked(tmp_path, 2, raises=True), timeout_s=TIMEOUT_S)
        assert len(parts_of([await anext(stream), await anext(stream)])) == 2
        error = await refusal(anext(stream))
        assert error.code is ErrorCode.HANDLER_FAILED
        assert "no more" in error.message


async def test_one_answer_of_a_function_with_parts_is_refused_with_advice(
    world: World, name: str, tmp_path: Path
) -> None:
    async with deployed(world, counter(name, tmp_path)) as client:
        error = await refusal(client.invoke(name, asked(tmp_path, 3), timeout_s=TIMEOUT_S))
        assert error.code is ErrorCode.INVALID
        assert "invoke_stream" in error.message
        async with httpx.AsyncClient(base_url=world.http_url, timeout=TIMEOUT_S) as http:
            response = await http.post(f"/v2/models/{name}/infer", json=as_json(asked(tmp_path, 3)))
        assert response.status_code == 400
        assert "infer_stream" in response.json()["error"]


async def test_who_leaves_early_over_nats_stops_it(world: World, name: str, tmp_path: Path) -> None:
    async with deployed(world, counter(name, tmp_path)) as client:
        async with aclosing(client.invoke_stream(name, asked(tmp_path, 9**6), timeout_s=TIMEOUT_S)) as results:
            await anext(results)
        await until(lambda: is_closed(client, name, tmp_path))


async def is_closed(client: Client, name: str, desk: Path) -> bool:
    note = desk / "made"
    return note.exists() and int(note.read_text() or 0) < 9**6 and await outstanding(client, name) == 0


async def test_over_http_as_server_sent_events(world: World, name: str, tmp_path: Path) -> None:
    path = f"/v2/models/{name}/infer_stream"
    async with (
        deployed(world, counter(name, tmp_path)) as client,
        httpx.AsyncClient(base_url=world.http_url, timeout=TIMEOUT_S) as http,
    ):
        events: list[tuple[str, Any]] = []
        kind = "message"
        async with http.stream("POST", path, json=as_json(asked(tmp_path, 3, waits=True))) as response:
            assert response.headers["content-type"] == "text/event-stream"
            async for line in response.aiter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    kind = value
                elif field == "data":
                    events.append((kind, json.loads(value)))
                    (tmp_path / "go").touch()
        assert [kind for kind, _ in events] == ["message", "message", "message", "end"]
        assert [event["id"] for _, event in events[:3]] == ["mine"] * 3
        assert [event["outputs"][0]["data"] for _, event in events[:3]] == [[0], [1], [2]]

        broken = await http.post(path, json=as_json(asked(tmp_path, 1, raises=True)))
        assert broken.text.split("event: ")[1].startswith("error\ndata: ")
        unknown = await http.post("/v2/models/nobody/infer_stream", json=as_json(asked(tmp_path, 1)))
        assert unknown.status_code == 404
        (tmp_path / "made").unlink()
        async with http.stream("POST", path, json=as_json(asked(tmp_path, 9**6))) as response:
            await anext(response.aiter_lines())
        await until(lambda: is_closed(client, name, tmp_path))


def told_of_the_end(world: World, name: str, desk: Path) -> list[int]:
    """How many outputs each answer of a stream has, the empty last one included, which only this client asks for."""
    answers: SimpleQueue[Any] = SimpleQueue()
    client = triton_sync.InferenceServerClient(world.grpc_address)
    try:
        client.start_stream(lambda result, error: answers.put(error or result.get_response()))
        client.async_stream_infer(name, triton_inputs(asked(desk, 2)), enable_empty_final_response=True)
        counts: list[int] = []
        while not counts or counts[-1]:
            counts.append(len(answers.get(timeout=TIMEOUT_S).outputs))
        client.stop_stream()
    finally:
        client.close()
    return counts


async def test_over_grpc_until_the_final_response(world: World, name: str, tmp_path: Path) -> None:
    plain = functions.times(f"{name}-plain", tmp_path, 2.0)
    async with deployed(world, counter(name, tmp_path), plain) as client:
        grpc = triton.InferenceServerClient(world.grpc_address)
        try:
            config = await grpc.get_model_config(name)
            assert config.config.model_transaction_policy.decoupled
            x = triton.InferInput("x", [1, 4], "FP32").set_data_from_numpy(np.ones((1, 4), np.float32))
            streamed = triton_inputs(asked(tmp_path, 2))

            async def requests() -> Any:
                yield {"model_name": name, "inputs": streamed, "request_id": "a"}
                yield {"model_name": plain.name, "inputs": [x], "request_id": "b"}
                yield {"model_name": "nobody", "inputs": [x], "request_id": "d"}

            said = []
            async for result, error in grpc.stream_infer(requests()):
                response = result.get_response() if error is None else None
                final = response is not None and response.parameters["triton_final_response"].bool_param
                said.append((response.id, len(response.outputs), final) if response is not None else str(error))
            assert said[:-1] == [
                ("a", 2, False),
                ("a", 2, False),
                ("b", 1, True),
            ]
            assert "nobody" in str(said[-1])
            assert await anyio.to_thread.run_sync(told_of_the_end, world, name, tmp_path) == [2, 2, 0]
            (tmp_path / "made").unlink()

            async def endless() -> Any:
                yield {"model_name": name, "inputs": triton_inputs(asked(tmp_path, 9**6))}
                await anyio.sleep_forever()

            answers = grpc.stream_infer(endless())
            await anext(answers)
            answers.cancel()
            await until(lambda: is_closed(client, name, tmp_path))
        finally:
            await grpc.close()


async def test_callers_that_leave_free_what_they_had(world: World, name: str, tmp_path: Path) -> None:
    """Most of these never run: a slow model's queue is empty again as soon as nobody wants what is in it."""
    async with deployed(world, functions.slow(name, tmp_path, 2000)) as client:
        inputs = {"x": np.ones((1, 16), np.float32)}
        async with anyio.create_task_group() as tasks:
            for _ in range(32):
                tasks.start_soon(client.invoke, name, inputs)

            async def are_there() -> bool:
                return await outstanding(client, name) > 16

            await until(are_there)
            tasks.cancel_scope.cancel()

        async def are_gone() -> bool:
            return await outstanding(client, name) == 0

        await until(are_gone)
