"""Callers who hang up, hurry, mumble or offer other protocols; and the way the server stops."""

import asyncio
import logging

import anyio
import pytest

from fastgshare.gateway.http import HttpUnavailable, build_app, serve_http
from fastgshare.gateway.http.settings import HttpSettings
from tests.gateway.http.serving import (
    INFER,
    PATIENCE_S,
    ROW,
    FakeFunctions,
    FakeInvoker,
    Knock,
    knock,
    serving,
    until,
)

REQUEST = b"POST %b HTTP/1.1\r\nhost: test\r\ncontent-length: %d\r\n\r\n%b" % (INFER.encode(), len(ROW), ROW)


async def test_a_caller_who_hangs_up_is_not_waited_for() -> None:
    invoker = FakeInvoker()
    invoker.go = anyio.Event()
    async with serving(invoker) as port:
        async with knock(port) as door:
            await door.send(REQUEST)
            await until(lambda: invoker.waiting == 1)
        await until(lambda: invoker.waiting == 0)
        assert invoker.cancelled == 1
        invoker.go.set()
        async with knock(port) as door:
            assert (await door.request("POST", INFER, ROW)).status == 200


async def test_a_caller_who_hangs_up_behind_a_pipeline_is_not_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    invoker = FakeInvoker()
    invoker.go = anyio.Event()
    async with serving(invoker) as port:
        async with knock(port) as door:
            await door.send(REQUEST * 3)
            await until(lambda: invoker.waiting == 1)
        await until(lambda: invoker.cancelled == 1)
    assert len(invoker.asked) == 1
    assert not caplog.records


async def test_a_caller_who_hangs_up_in_mid_body_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    invoker = FakeInvoker()
    async with serving(invoker) as port:
        async with knock(port) as door:
            await door.send(REQUEST[:-5])
        async with knock(port) as door:
            assert (await door.request("POST", INFER, ROW)).status == 200
    assert len(invoker.asked) == 1
    assert not caplog.records


async def test_requests_in_a_pipeline_are_answered_in_their_order() -> None:
    async with serving(FakeInvoker()) as port, knock(port) as door:
        values = (b"7.5", b"2.5", b"8.5")
        await door.send(b"".join(REQUEST.replace(b"2.5", value) for value in values))
        for value in values:
            assert value in (await door.answer()).body


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
async def test_an_offer_of_another_protocol_is_answered_without_it(
    protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(FakeInvoker()) as port, knock(port) as door:
        for name in ("Upgrade", "upgrade", "UPGRADE"):
            offer = {"Connection": "Upgrade, HTTP2-Settings", name: protocol}
            assert (await door.request("POST", INFER, ROW, **offer)).status == 200
        assert (await door.request("POST", INFER, ROW)).status == 200
    assert not caplog.records


@pytest.mark.parametrize(
    "sent",
    [
        b"\0\1\2\3\4\5\6\7\r\n\r\n",
        b"HELLO\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: five\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST " + INFER.encode() + b" HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_http_is_refused_and_hung_up_on(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(FakeInvoker()) as port:
        async with knock(port) as door:
            await door.send(sent)
            answer = await door.answer()
            assert answer.status == 400
            assert answer.error == "not an HTTP request"
            assert await door.is_closed()
        async with knock(port) as door:
            assert (await door.request("POST", INFER, ROW)).status == 200
    assert not caplog.records


async def test_http_1_0_is_answered_and_hung_up_on() -> None:
    async with serving(FakeInvoker()) as port, knock(port) as door:
        await door.send(REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert (await door.answer()).status == 200
        assert await door.is_closed()


async def test_head_has_the_headers_alone() -> None:
    async with serving(FakeInvoker()) as port, knock(port) as door:
        await door.send(b"HEAD /v2/health/live HTTP/1.1\r\nhost: test\r\n\r\n")
        head = await door.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert (await door.request("GET", "/v2/health/live")).document == {"live": True}


class Stopping:
    """A server that a test stops itself, by its event or by cancellation, while requests are in flight."""

    def __init__(self, grace_s: float) -> None:
        self.invoker = FakeInvoker()
        self.invoker.go = self.go = anyio.Event()
        self.grace_s = grace_s
        self.stop = anyio.Event()
        self.scope = anyio.CancelScope()
        self.stopped = anyio.Event()

    async def serve(self, *, task_status: anyio.abc.TaskStatus[int]) -> None:
        app = build_app(self.invoker, FakeFunctions(), HttpSettings())
        with self.scope:
            await serve_http(app, "127.0.0.1", 0, stop=self.stop, grace_s=self.grace_s, task_status=task_status)
        self.stopped.set()


async def hang_up(door: Knock) -> None:
    assert await door.is_closed()


@pytest.mark.parametrize("by_cancelling", [False, True], ids=["event", "cancel"])
async def test_stopping_finishes_what_is_in_flight_and_takes_nothing_new(by_cancelling: bool) -> None:
    server = Stopping(grace_s=PATIENCE_S)
    async with anyio.create_task_group() as tasks:
        port = await tasks.start(server.serve)
        async with knock(port) as busy, knock(port) as idle:
            assert (await idle.request("GET", "/v2/health/live")).status == 200
            await busy.send(REQUEST)
            await until(lambda: server.invoker.waiting == 1)
            server.scope.cancel() if by_cancelling else server.stop.set()
            await hang_up(idle)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            assert not server.stopped.is_set()
            server.go.set()
            answer = await busy.answer()
            assert answer.status == 200
            assert answer.headers["connection"] == "close"
            await hang_up(busy)
        with anyio.fail_after(PATIENCE_S):
            await server.stopped.wait()


async def test_what_does_not_finish_within_the_grace_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    server = Stopping(grace_s=0.05)
    async with anyio.create_task_group() as tasks:
        port = await tasks.start(server.serve)
        async with knock(port) as busy, knock(port) as slow:
            await busy.send(REQUEST)
            await slow.send(REQUEST.replace(b"host:", b"expect: 100-continue\r\nhost:")[:-1])
            assert b"100 Continue" in await slow.reader.readuntil(b"\r\n\r\n")  # its body is being waited for
            await until(lambda: server.invoker.waiting == 1)
            server.stop.set()
            answer = await busy.answer()
            assert answer.status == 503
            assert answer.headers["retry-after"] == "1"
            assert answer.error == "the gateway is stopping"
            await hang_up(busy)
            assert (await slow.answer()).status == 503
        with anyio.fail_after(PATIENCE_S):
            await server.stopped.wait()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_port_that_is_taken_is_told() -> None:
    app = build_app(FakeInvoker(), FakeFunctions(), HttpSettings())
    async with serving(FakeInvoker()) as port:
        with pytest.raises(HttpUnavailable) as caught:
            await serve_http(app, "127.0.0.1", port)
    assert caught.value.fields["port"] == port
