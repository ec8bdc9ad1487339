"""Every bound of the HTTP door is met with its status and its number, and leaves the server serving."""

import gzip
import resource

import anyio
import pytest

from fastgshare.gateway.http import HttpSettings
from fastgshare.gateway.http.connection import Connection, most_connections
from tests.gateway.http.serving import INFER, ROW, FakeInvoker, body_of, knock, serving, until

SMALL = HttpSettings(max_body_bytes=1000, max_json_bytes=500)
LARGE_BODY = body_of(*range(400))
HEAD = b"POST " + INFER.encode() + b" HTTP/1.1\r\nhost: test\r\n"


async def test_an_announced_body_is_refused_before_it_is_sent() -> None:
    async with serving(FakeInvoker(), settings=SMALL) as port, knock(port) as door:
        await door.send(HEAD + b"expect: 100-continue\r\ncontent-length: 1001\r\n\r\n")
        answer = await door.answer()
    assert answer.status == 413
    assert answer.error == "the body of 1001 bytes is larger than the limit of 1000 bytes"


async def test_a_body_that_is_sent_all_the_same_is_read_off() -> None:
    async with serving(FakeInvoker(), settings=SMALL) as port, knock(port) as door:
        for _ in range(2):
            assert (await door.request("POST", INFER, LARGE_BODY)).status == 413
        assert (await door.request("POST", INFER, ROW)).status == 200


async def test_reading_off_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "max_discarded_bytes", 100_000)
    async with serving(FakeInvoker(), settings=SMALL) as port, knock(port) as door:
        await door.send(HEAD + b"content-length: 10000000000\r\n\r\n")
        assert (await door.answer()).status == 413
        await door.send(b"\0" * 200_000)
        assert await door.is_closed()


async def test_a_chunked_body_is_refused_where_it_passes_the_limit() -> None:
    async with serving(FakeInvoker(), settings=SMALL) as port, knock(port) as door:
        await door.send(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        await door.send(b"320\r\n" + b" " * 800 + b"\r\n")
        await door.send(b"320\r\n" + b" " * 800 + b"\r\n")
        answer = await door.answer()
        assert answer.status == 413
        assert "limit of 1000 bytes" in answer.error
        await door.send(b"0\r\n\r\n")
        assert (await door.request("POST", INFER, ROW)).status == 200


async def test_a_chunked_body_within_the_limit_is_read() -> None:
    async with serving(FakeInvoker(), settings=SMALL) as port, knock(port) as door:
        await door.send(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        for position in range(0, len(ROW), 10):
            piece = ROW[position : position + 10]
            await door.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await door.send(b"0\r\n\r\n")
        assert (await door.answer()).status == 200


async def test_the_limit_counts_what_is_decompressed() -> None:
    bomb = gzip.compress(b" " * 100_000_000, 9)
    settings = HttpSettings(max_body_bytes=1_000_000)
    async with serving(FakeInvoker(), settings=settings) as port, knock(port) as door:
        assert len(bomb) < settings.max_body_bytes
        answer = await door.request("POST", INFER, bomb, Content_Encoding="gzip")
    assert answer.status == 413
    assert answer.error == "the decompressed body is larger than the limit of 1000000 bytes"


async def test_json_has_a_limit_of_its_own() -> None:
    async with serving(FakeInvoker(), settings=SMALL) as port, knock(port) as door:
        answer = await door.request("POST", INFER, ROW + b" " * 500)
    assert answer.status == 413
    assert answer.error == "the JSON is larger than the limit of 500 bytes; send large tensors as binary data"


async def test_all_bodies_together_are_bounded() -> None:
    invoker = FakeInvoker()
    invoker.go = anyio.Event()
    settings = HttpSettings(max_bodies_bytes=len(ROW) + 10)
    async with serving(invoker, settings=settings) as port, knock(port) as first, knock(port) as second:
        await first.send(HEAD + b"content-length: %d\r\n\r\n" % len(ROW) + ROW)
        await until(lambda: invoker.waiting == 1)
        answer = await second.request("POST", INFER, ROW)
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        invoker.go.set()
        assert (await first.answer()).status == 200
        assert (await second.request("POST", INFER, ROW)).status == 200


async def test_a_body_that_does_not_come_is_not_waited_for_forever() -> None:
    settings = HttpSettings(body_timeout_s=0.05)
    async with serving(FakeInvoker(), settings=settings) as port, knock(port) as door:
        await door.send(HEAD + b"content-length: 100\r\n\r\n{")
        answer = await door.answer()
    assert answer.status == 408
    assert "did not arrive within 0.05 s" in answer.error


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 40_000,
        b"GET / HTTP/1.1\r\nhost: test\r\nlong: " + b"x" * 40_000,
        b"GET / HTTP/1.1\r\n" + b"many: headers\r\n" * 3_000,
        b"GET / HTTP/1.1\r\n" + b"many: headers\r\n" * 3_000 + b"\r\n",
    ],
    ids=["path", "header", "headers", "complete"],
)
async def test_a_head_that_is_too_large_is_refused(head: bytes) -> None:
    async with serving(FakeInvoker()) as port, knock(port) as door:
        await door.send(head)
        answer = await door.answer()
        assert answer.status == 431
        assert "limit of 32768 bytes" in answer.error
        assert await door.is_closed()


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET / HT", b"GET / HTTP/1.1\r\nhost: t"])
async def test_a_head_that_does_not_come_is_not_waited_for_forever(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "head_timeout_s", 0.05)
    async with serving(FakeInvoker()) as port, knock(port) as door:
        await door.send(sent)
        assert await door.is_closed()


async def test_between_requests_a_connection_may_rest_but_not_dawdle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "head_timeout_s", 0.05)
    async with serving(FakeInvoker()) as port, knock(port) as door:
        assert (await door.request("POST", INFER, ROW)).status == 200
        await door.send(b"POST /v2")
        assert await door.is_closed()


async def test_more_connections_than_allowed_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "max_connections", 1)
    async with serving(FakeInvoker()) as port, knock(port) as first:
        assert (await first.request("POST", INFER, ROW)).status == 200
        async with knock(port) as second:
            answer = await second.answer()
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        assert (await first.request("POST", INFER, ROW)).status == 200


@pytest.mark.parametrize(("open_files", "connections"), [(1024, 512), (1 << 20, 4096), (resource.RLIM_INFINITY, 4096)])
def test_connections_leave_room_for_other_open_files(open_files: int, connections: int) -> None:
    assert most_connections(open_files) == connections


async def test_a_large_body_in_many_pieces_arrives_whole() -> None:
    invoker = FakeInvoker()
    body = ROW + b" " * 3_000_000
    async with serving(invoker) as port, knock(port) as door:
        assert (await door.request("POST", INFER, body)).status == 200
    assert len(invoker.asked) == 1
