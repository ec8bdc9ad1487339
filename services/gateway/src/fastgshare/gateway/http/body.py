"""Bodies as they come in: read within a time, bounded one by one and all together, decompressed within the bound."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastgshare.gateway.http.errors import CallerGone, HttpRefused, too_large
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
RequestHeaders = dict[bytes, bytes]

_WINDOW_BITS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
_RETRY_AFTER_MS = 1000
_LONGEST_NUMBER = 18


class BodyBudget:
    """How many bytes of bodies may be in memory at one time, by whatever door they came."""

    def __init__(self, limit_bytes: int = 256 << 20) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0


class Hold:
    """What one request holds of the budget."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self.held_bytes = 0

    def __enter__(self) -> "Hold":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def grow(self, size_bytes: int) -> None:
        """Hold more. Raises RequestRefused when the budget is spent."""
        budget = self._budget
        if budget.held_bytes + size_bytes > budget.limit_bytes:
            message = f"the gateway holds {budget.held_bytes} bytes of bodies, the limit is {budget.limit_bytes}"
            raise RequestRefused(ErrorBody(ErrorCode.UNAVAILABLE, message, _RETRY_AFTER_MS))
        budget.held_bytes += size_bytes
        self.held_bytes += size_bytes

    def passed_on(self) -> "Hold":
        """All that is held here, from now on held by another."""
        other = Hold(self._budget)
        other.held_bytes, self.held_bytes = self.held_bytes, 0
        return other

    def release(self) -> None:
        """Give everything back."""
        self._budget.held_bytes -= self.held_bytes
        self.held_bytes = 0


def number_in(headers: RequestHeaders, name: bytes) -> int | None:
    """A header that is a plain number; None where it is missing. Raises HttpRefused."""
    text = headers.get(name)
    if text is None:
        return None
    if not text.isdigit() or len(text) > _LONGEST_NUMBER:
        shown = text[:40].decode("latin-1")
        raise HttpRefused(400, f"header {name.decode()} is {shown!r}, expected a number")
    return int(text)


def refuse_announced(headers: RequestHeaders, limit_bytes: int) -> None:
    """Refuse a body that says of itself that it is too large, before any of it is read. Raises HttpRefused."""
    announced = number_in(headers, b"content-length")
    if announced is not None and announced > limit_bytes:
        raise too_large(limit_bytes, f"the body of {announced} bytes")


async def read_body(receive: Receive, limit_bytes: int, hold: Hold) -> bytes:
    """The whole body.

    Raises:
        HttpRefused: it is larger than `limit_bytes`.
        RequestRefused: the gateway holds too many bodies already.
        CallerGone: the connection was lost on the way.
    """
    chunks: list[bytes] = []
    size_bytes = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise CallerGone
        chunk: bytes = message.get("body", b"")
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            raise too_large(limit_bytes)
        hold.grow(len(chunk))
        if not message.get("more_body", False):
            return b"".join([*chunks, chunk]) if chunks else chunk
        chunks.append(chunk)


async def read_in_time(receive: Receive, limit_bytes: int, hold: Hold, timeout_s: float) -> bytes:
    """As `read_body`, and refused with 408 when it takes longer than `timeout_s`."""
    try:
        async with asyncio.timeout(timeout_s):
            return await read_body(receive, limit_bytes, hold)
    except TimeoutError:
        raise HttpRefused(408, f"the body did not arrive within {timeout_s:g} s") from None


def check_coding(coding: bytes) -> bytes:
    """A content coding that is understood here, in lower case. Raises HttpRefused (415)."""
    name = coding.strip().lower()
    if name != b"identity" and name not in _WINDOW_BITS:
        shown = coding[:40].decode("latin-1")
        raise HttpRefused(
            415,
            f"content-encoding is {shown!r}, expected gzip, deflate or identity",
            [(b"accept-encoding", b"gzip, deflate")],
        )
    return name


def inflate(data: bytes, coding: bytes, limit_bytes: int) -> bytes:
    """`data` without its content coding; stops as soon as it is more than `limit_bytes`.

    Raises:
        HttpRefused: not in this coding, cut off, with something behind it, or too large.
    """
    if coding == b"identity":
        return data
    stream = zlib.decompressobj(_WINDOW_BITS[coding])
    try:
        plain = stream.decompress(data, limit_bytes + 1)
    except zlib.error as error:
        raise HttpRefused(400, f"the body is not {coding.decode()}: {error}") from None
    if len(plain) > limit_bytes:
        raise too_large(limit_bytes, "the decompressed body")
    if not stream.eof or stream.unused_data:
        what = "has more behind it" if stream.eof else "is cut off"
        raise HttpRefused(400, f"the {coding.decode()} body {what}")
    return plain


def wished_coding(headers: RequestHeaders) -> bytes | None:
    """The coding that the caller wants its answer in, where it names exactly one that is known.

    A list of several is what HTTP libraries send by habit; on the networks that inference runs over, compressing
    costs more time than it saves, so it is done for those who ask for it.
    """
    accepted = headers.get(b"accept-encoding")
    if accepted is None:
        return None
    name = accepted.strip().lower()
    return name if name in (b"gzip", b"deflate") else None


def deflate(chunks: list[bytes | memoryview], coding: bytes) -> list[bytes | memoryview]:
    """`chunks` as one stream in `coding`, packed fast rather than small."""
    stream = zlib.compressobj(1, zlib.DEFLATED, _WINDOW_BITS[coding])
    packed = [stream.compress(chunk) for chunk in chunks]
    packed.append(stream.flush())
    return [piece for piece in packed if piece]
