"""Server-sent events: parts, a marked end, errors before and in the middle, and callers who leave."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import anyio

from fastgshare.gateway.http import HttpSettings
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.messages import INFER_VERSION, InferReply, InferRequest, Tensor
from tests.gateway.http.serving import PATIENCE_S, ROW, FakeInvoker, Knock, knock, serving, until

PATH = "/v2/models/echo/infer_stream"


def two(request: InferRequest) -> list[InferReply]:
    more = InferReply(INFER_VERSION, request.inputs, more=True)
    return [more, InferReply(INFER_VERSION, request.inputs, part=1, more=True), InferReply(INFER_VERSION, part=2)]


def then(error: ErrorBody, *before: InferReply) -> Iterator[InferReply]:
    yield from before
    yield InferReply(INFER_VERSION, error=error)


async def ask(knocking: Knock) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nhost: test\r\ncontent-length: {len(ROW)}\r\n\r\n"
    await knocking.send(head.encode() + ROW)


async def events(knocking: Knock, until_text: bytes) -> str:
    return (await asyncio.wait_for(knocking.reader.readuntil(until_text), PATIENCE_S)).decode()


async def test_parts_are_events_and_the_end_is_marked() -> None:
    invoker = FakeInvoker()
    invoker.parts = two
    async with serving(invoker) as port, knock(port) as knocking:
        await ask(knocking)
        text = await events(knocking, b"0\r\n\r\n")
    assert "content-type: text/event-stream" in text
    assert text.count("\ndata: {") == 3
    assert text.count('data: {"model_name":"echo","outputs":[{"name":"x"') == 2
    assert "event: end\ndata: {}" in text
    assert invoker.closed == 1


async def test_what_goes_wrong_first_is_a_plain_refusal() -> None:
    invoker = FakeInvoker()
    invoker.parts = lambda _: then(ErrorBody(ErrorCode.OVERLOADED, "too much", 1500))
    async with serving(invoker) as port, knock(port) as knocking:
        answer = await knocking.request("POST", PATH, ROW)
        assert (answer.status, answer.error, answer.headers["retry-after"]) == (429, "too much", "2")
        unknown = await knocking.request("POST", "/v2/models/nobody/infer_stream", ROW)
        assert unknown.status == 404
        broken = await knocking.request("POST", PATH, b"{")
        assert broken.status == 400
        wrong = await knocking.request("GET", PATH)
        assert wrong.status == 405


async def test_what_goes_wrong_in_the_middle_is_an_event() -> None:
    invoker = FakeInvoker()
    invoker.parts = lambda request: then(ErrorBody(ErrorCode.HANDLER_FAILED, "no more"), two(request)[0])
    async with serving(invoker) as port, knock(port) as knocking:
        await ask(knocking)
        text = await events(knocking, b"0\r\n\r\n")
    assert 'event: error\ndata: {"error":"no more","code":"handler_failed"' in text
    assert "event: end" not in text


async def test_a_caller_that_hangs_up_stops_the_stream() -> None:
    invoker = FakeInvoker()
    invoker.parts = two
    invoker.go = anyio.Event()
    async with serving(invoker) as port:
        async with knock(port) as knocking:
            await ask(knocking)
            await events(knocking, b'"x"')
            await until(lambda: invoker.waiting == 1)
        await until(lambda: invoker.closed == 1)
        assert invoker.cancelled == 1


async def test_a_gateway_that_stops_says_so_in_the_stream() -> None:
    invoker = FakeInvoker()
    invoker.parts = two
    invoker.go = anyio.Event()
    async with anyio.create_task_group() as tasks:
        opened = anyio.Event()
        port_of: list[int] = []
        stop = anyio.Event()

        async def serve() -> None:
            async with serving(invoker) as port:
                port_of.append(port)
                opened.set()
                await stop.wait()

        tasks.start_soon(serve)
        await opened.wait()
        async with knock(port_of[0]) as knocking:
            await ask(knocking)
            await until(lambda: invoker.waiting == 1)
            stop.set()
            text = await events(knocking, b"0\r\n\r\n")
    assert 'event: error\ndata: {"error":"the gateway is stopping"' in text


async def test_a_caller_that_takes_no_events_loses_the_connection() -> None:
    invoker = FakeInvoker()
    ones = Tensor("x", "UINT8", (1 << 20,), memoryview(bytes(1 << 20)))
    invoker.parts = lambda _: (InferReply(INFER_VERSION, (ones,), part=number, more=True) for number in range(10_000))
    async with serving(invoker, settings=HttpSettings(taken_within_s=0.2)) as port, knock(port) as knocking:
        await ask(knocking)
        await until(lambda: invoker.closed == 1)
        with suppress(ConnectionError):  # a reset, or what lay in between and then the end
            assert b"event: end" not in await asyncio.wait_for(knocking.reader.read(), PATIENCE_S)
