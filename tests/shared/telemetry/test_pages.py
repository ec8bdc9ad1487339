"""The metrics port serves its page to whoever asks properly, and closes on everybody else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from fastgshare.shared.telemetry import pages
from fastgshare.shared.telemetry.pages import MAX_CONNECTIONS, MAX_HEAD_BYTES, PagePort
from fastgshare.shared.telemetry.service import Metrics

HOST = "127.0.0.1"
PATIENCE_S = 20.0


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    async with anyio.create_task_group() as work:
        yield await work.start(PagePort(lambda: b"page\n").serve, HOST, 0)
        work.cancel_scope.cancel()


async def said(port: int, text: bytes) -> bytes:
    """The whole answer, up to the end of the connection."""
    answer = b""
    with anyio.fail_after(PATIENCE_S):
        async with await anyio.connect_tcp(HOST, port) as stream:
            await stream.send(text)
            try:
                while True:
                    answer += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return answer


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        (b"GET /metrics HTTP/1.1", b"200", b"page\n"),
        (b"GET /metrics?name=x HTTP/1.0", b"200", b"page\n"),
        (b"HEAD /metrics HTTP/1.1", b"200", b""),
        (b"POST /metrics HTTP/1.1", b"405", b"Method Not Allowed\n"),
        (b"GET / HTTP/1.1", b"404", b"Not Found\n"),
        (b"GET /metrics", b"400", b"Bad Request\n"),
        (b"\x00\xff", b"400", b"Bad Request\n"),
        (b"GET /" + b"x" * MAX_HEAD_BYTES, b"431", b"Request Header Fields Too Large\n"),
    ],
)
async def test_each_request_gets_its_answer(request_line: bytes, status: bytes, body: bytes) -> None:
    async with serving() as port:
        answer = await said(port, request_line + b"\r\nHost: x\r\n\r\n")
    head, _, content = answer.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == status
    assert content == body


async def test_who_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PATIENCE_S", 0.1)
    async with serving() as port:
        assert await said(port, b"GET /metr") == b""


async def test_who_hangs_up_costs_nobody_anything() -> None:
    async with serving() as port:
        for _ in range(3):
            await (await anyio.connect_tcp(HOST, port)).aclose()
        assert b"200" in await said(port, b"GET /metrics HTTP/1.1\r\n\r\n")


async def test_connections_are_few() -> None:
    async with serving() as port:
        open_ones = [await anyio.connect_tcp(HOST, port) for _ in range(MAX_CONNECTIONS)]
        assert await said(port, b"") == b""
        for stream in open_ones:
            await stream.aclose()


async def test_a_taken_port_is_no_reason_not_to_serve() -> None:
    async with serving() as port, anyio.create_task_group() as work:
        assert await Metrics().start_page(work, HOST, port) == {}
        assert await Metrics().start_page(work, HOST, 0) == {}
        work.cancel_scope.cancel()


async def test_a_count_that_cannot_be_told_costs_the_page_and_nothing_else() -> None:
    def broken() -> bytes:
        raise RuntimeError("a fault of somebody's")

    async with anyio.create_task_group() as work:
        port = await work.start(PagePort(broken).serve, HOST, 0)
        for _ in range(2):
            assert b" 500 " in await said(port, b"GET /metrics HTTP/1.1\r\n\r\n")
        work.cancel_scope.cancel()
