"""What cannot be done is said so, to its caller alone, with what was expected, and everyone else is served."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import psutil

from fastgshare.client import Client, RequestRefused
from fastgshare.shared.errors import ErrorBody
from tests.integration import functions, models
from tests.integration.doors import deployed, json_body, post, refusal, rows, until
from tests.integration.world import World

X = np.ones(4, np.float32)


def mood(word: bytes) -> dict[str, Any]:
    return {"mood": word, "x": X}


async def test_an_unknown_function_is_not_found(world: World) -> None:
    async with deployed(world) as client:
        error = await refusal(client.invoke("nobody", {"x": rows(1)}))
        assert (error.http_status, error.message) == (404, "no function 'nobody'")
    response = await post(world, "nobody", json_body({"x": rows(1)}))
    assert response.status_code == 404
    assert "'nobody'" in response.json()["error"]


async def test_wrong_inputs_are_refused_with_what_was_expected(world: World, tmp_path: Path) -> None:
    total = functions.function("total", models.total(tmp_path / "total.onnx"), max_batch=4)
    fits = rows(1, width=4)
    wrong = {
        "expected inputs ['a', 'b'], missing ['b'], unknown ['c']": {"a": fits, "c": fits},
        "input 'b' has datatype INT64, expected FP32": {"a": fits, "b": np.ones((1, 4), np.int64)},
        "input 'b' has shape [1, 5], expected [-1, 4]": {"a": fits, "b": rows(1, width=5)},
        "input 'a' has 5 rows, expected 1 to 4": dict.fromkeys("ab", rows(1, 2, 3, 4, 5, width=4)),
        "inputs disagree about the batch size": {"a": fits, "b": rows(1, 2, width=4)},
    }
    async with deployed(world, total) as client:
        for expected, inputs in wrong.items():
            error = await refusal(client.invoke("total", inputs))
            assert error.http_status == 400
            assert expected in error.message
            response = await post(world, "total", json_body(inputs))
            assert response.status_code == 400
            assert expected in response.json()["error"]
        await client.invoke("total", {"a": fits, "b": fits})


async def test_an_input_that_the_model_fails_on_fails_alone(world: World, tmp_path: Path) -> None:
    picky = functions.function("picky", models.picky(tmp_path / "picky.onnx"))
    async with deployed(world, picky) as client:
        outcomes: dict[int, str] = {}

        async def ask(index: int) -> None:
            try:
                result = await client.invoke("picky", {"index": np.array([index])})
                outcomes[index] = str(result.outputs["y"].tolist())
            except RequestRefused as refused:
                outcomes[index] = refused.body.code

        async with anyio.create_task_group() as tasks:
            for index in (0, 99, 1, 98, 2, 3):
                tasks.start_soon(ask, index)
        assert outcomes == {0: "[0]", 1: "[10]", 2: "[20]", 3: "[30]", 98: "model_failed", 99: "model_failed"}


async def test_text_that_is_none_is_its_callers_fault(world: World, tmp_path: Path) -> None:
    words = functions.function("words", models.words_and_numbers(tmp_path / "words.onnx"))
    async with deployed(world, words) as client:
        inputs = {"word": np.array([[b"\xff\xfe"]], dtype=object), "number": np.array([[1]])}
        error = await refusal(client.invoke("words", inputs))
        assert error.http_status == 400
        assert "expected UTF-8" in error.message


async def test_overload_is_refused_at_once_with_a_time_to_come_back(world: World, tmp_path: Path) -> None:
    async with deployed(world, functions.slow("slow", tmp_path, 300, max_batch=1)) as client:
        patience_s = 5 * max([await _took_s(client, number) for number in range(5)])
        outcomes: Counter[str] = Counter()
        refusals: list[ErrorBody] = []

        async def ask(number: int) -> None:
            try:
                result = await client.invoke("slow", {"x": rows(number)}, timeout_s=patience_s)
                assert result.outputs["y"][0, 0] == number
                outcomes["right"] += 1
            except RequestRefused as refused:
                outcomes[refused.body.code] += 1
                refusals.append(refused.body)

        async with anyio.create_task_group() as tasks:
            for number in range(400):
                tasks.start_soon(ask, number)
        assert outcomes.total() == 400
        assert outcomes["right"] > 0
        overloaded = [error for error in refusals if error.code == "overloaded"]
        assert len(overloaded) > 100, outcomes
        assert all(error.http_status == 429 and error.retry_after_ms > 0 for error in overloaded)


async def test_overload_over_http_says_retry_after(world: World, tmp_path: Path) -> None:
    async with deployed(world, functions.slow("slow", tmp_path, 300, max_batch=1)) as client:
        for number in range(5):
            await client.invoke("slow", {"x": rows(number)})
        statuses: Counter[int] = Counter()

        async def ask(number: int) -> None:
            response = await post(world, "slow", json_body({"x": rows(number)}, 400))
            statuses[response.status_code] += 1
            if response.status_code in (429, 503):
                assert int(response.headers["retry-after"]) >= 1

        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(ask, number)
        assert statuses[429] > 0, statuses
        assert set(statuses) <= {200, 429, 503, 504}


async def test_user_code_that_hangs_costs_its_own_request_and_others_are_served(world: World, tmp_path: Path) -> None:
    async with deployed(world, functions.moody("moody", tmp_path), functions.times("double", tmp_path, 2.0)) as client:
        before = await _is_served(client)
        errors: list[ErrorBody] = []

        async def hang() -> None:
            errors.append(await refusal(client.invoke("moody", mood(b"hang"), timeout_s=0.4)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hang)
            for number in range(5):
                tasks.start_soon(_is_served, client)
                tasks.start_soon(_doubles, client, number)
        assert [(error.code, error.http_status) for error in errors] == [("deadline_exceeded", 504)]
        assert await _is_served(client) != before
        ends: list[tuple[int, str]] = []

        async def hangs_over_http() -> bool:
            """At first it may be refused: the gateway remembers how long the last hang took, until all is idle."""
            response = await post(world, "moody", json_body({"mood": np.array(["hang"], dtype=object), "x": X}, 400))
            ends.append((response.status_code, response.json()["error"]))
            return response.status_code != 429

        await until(hangs_over_http)
        status, reason = ends[-1]
        assert status == 504
        assert re.search("no answer within|deadline passed", reason)
        await _is_served(client)


async def test_a_model_that_takes_longer_than_its_caller_waits(world: World, tmp_path: Path) -> None:
    async with deployed(world, functions.slow("slow", tmp_path, 2000, max_batch=1)) as client:
        await client.invoke("slow", {"x": rows(1)}, timeout_s=40.0)
        error = await refusal(client.invoke("slow", {"x": rows(1)}, timeout_s=0.02))
        assert error.code in ("deadline_exceeded", "overloaded")
        response = await post(world, "slow", json_body({"x": rows(1)}, 20))
        assert response.status_code in (429, 504)


async def test_user_code_that_raises_fails_its_own_request(world: World, tmp_path: Path) -> None:
    async with deployed(world, functions.moody("moody", tmp_path)) as client:
        expected = {
            b"raise": ("handler_failed", 500, "preprocess raised RuntimeError: not today"),
            b"late": ("handler_failed", 500, "postprocess raised RuntimeError: too late to ask"),
            b"bad": ("invalid", 400, "mood: expected a better one"),
        }
        before = await _is_served(client)
        for word, (code, status, message) in expected.items():
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(_is_served, client)
                error = await refusal(client.invoke("moody", mood(word)))
            assert (error.code, error.http_status) == (code, status)
            assert message in error.message
        assert await _is_served(client) == before


async def test_user_code_that_ends_its_process_fails_its_own_request(world: World, tmp_path: Path) -> None:
    async with deployed(world, functions.moody("moody", tmp_path)) as client:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(_is_served, client)
            error = await refusal(client.invoke("moody", mood(b"exit"), timeout_s=40.0))
            for _ in range(3):
                tasks.start_soon(_is_served, client)
        assert (error.code, error.http_status) == ("handler_failed", 500)
        assert "exit status 7" in error.message


async def test_a_killed_handler_comes_back(world: World, tmp_path: Path) -> None:
    async with deployed(world, functions.moody("moody", tmp_path), functions.times("double", tmp_path, 2.0)) as client:
        for _ in range(2):
            pid = await _is_served(client)
            psutil.Process(pid).kill()
            async with anyio.create_task_group() as tasks:
                for number in range(5):
                    tasks.start_soon(_answered_or_failed_with_its_process, client)
                    tasks.start_soon(_doubles, client, number)
            assert await _is_served(client) != pid


async def _took_s(client: Client, number: int) -> float:
    """From a request to its answer, on this machine."""
    begun_s = anyio.current_time()
    await client.invoke("slow", {"x": rows(number)}, timeout_s=40.0)
    return anyio.current_time() - begun_s


async def _is_served(client: Client) -> int:
    """By which process."""
    result = await client.invoke("moody", mood(b"fine"), timeout_s=40.0)
    assert result.outputs["y"].tolist() == X.tolist()
    return int(result.outputs["pid"][0])


async def _answered_or_failed_with_its_process(client: Client) -> None:
    message = ""
    try:
        await _is_served(client)
    except RequestRefused as refused:
        message = refused.body.message
    assert not message or "the handler's process ended (SIGKILL)" in message


async def _doubles(client: Client, number: int) -> None:
    result = await client.invoke("double", {"x": rows(number)}, timeout_s=40.0)
    assert result.outputs["y"][0, 0] == 2 * number
