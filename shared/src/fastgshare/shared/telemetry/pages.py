"""A port where Prometheus fetches a process's page, and nothing else is to be had.

Few and short connections, each for one request: what is too long, too slow or too many is closed.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from fastgshare.shared.telemetry.prometheus import CONTENT_TYPE, PATH

MAX_HEAD_BYTES = 8 << 10
PATIENCE_S = 5.0
MAX_CONNECTIONS = 32
_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, anyio.IncompleteRead)

logger = logging.getLogger(__name__)


class PagePort:
    """Serves what `write` returns; made for one listener."""

    def __init__(self, write: Callable[[], bytes]) -> None:
        self._write = write
        self._connections = 0

    async def serve(
        self, host: str, port: int, *, task_status: anyio.abc.TaskStatus[int] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled; started with the port (0 asks for any). Raises OSError."""
        listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
        async with listener:
            task_status.started(listener.extra(anyio.abc.SocketAttribute.local_port))
            await listener.serve(self._answer)

    async def _answer(self, stream: anyio.abc.SocketStream) -> None:
        self._connections += 1
        try:
            async with stream:
                if self._connections <= MAX_CONNECTIONS:
                    with anyio.move_on_after(PATIENCE_S), suppress(*_GONE):
                        await stream.send(await self._answer_to(stream))
        finally:
            self._connections -= 1

    async def _answer_to(self, stream: anyio.abc.SocketStream) -> bytes:
        try:
            head = await BufferedByteReceiveStream(stream).receive_until(b"\r\n\r\n", MAX_HEAD_BYTES)
        except anyio.DelimiterNotFound:
            return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if len(head) > MAX_HEAD_BYTES:
            return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        match head.partition(b"\r\n")[0].split(b" "):
            case [method, target, version] if version.startswith(b"HTTP/1."):
                return self._page(method, target.partition(b"?")[0])
        return _response(HTTPStatus.BAD_REQUEST)

    def _page(self, method: bytes, path: bytes) -> bytes:
        if path != PATH.encode():
            return _response(HTTPStatus.NOT_FOUND)
        if method not in (b"GET", b"HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, extra="Allow: GET, HEAD\r\n")
        try:
            page = self._write()
        except Exception:  # a count that cannot be told must not end the service that counts
            logger.exception("page of metrics not written")
            return _response(HTTPStatus.INTERNAL_SERVER_ERROR)
        return _response(HTTPStatus.OK, page, CONTENT_TYPE, is_bare=method == b"HEAD")


def _response(
    status: HTTPStatus, body: bytes = b"", content_type: str = "text/plain", extra: str = "", is_bare: bool = False
) -> bytes:
    content = body or f"{status.phrase}\n".encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(content)}\r\n{extra}Connection: close\r\n\r\n"
    )
    return head.encode() + (b"" if is_bare else content)
