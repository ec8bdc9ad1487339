"""Head and body of a response in one write.

uvicorn writes them one after the other, and with TCP_NODELAY each write is a system call and a packet: a tenth of what
a small response costs. A head is held until the next write, or until the event loop's turn ends without one.
"""

import asyncio
from typing import Any

_HEAD = b"HTTP/1.1 "
_CONTINUE = b"HTTP/1.1 100"
_END_OF_HEAD = b"\r\n\r\n"


class JoinedWrites:
    """A transport that holds a response's head for its body; everything else is the transport's own."""

    __slots__ = ("_held", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held = b""

    def write(self, data: bytes | memoryview) -> None:
        """Write, unless `data` is a head."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.writelines([held, data])
        elif isinstance(data, bytes) and _is_head(data):
            self._held = data
            asyncio.get_running_loop().call_soon(self._release)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Close, once what is held is written."""
        self._release()
        self._transport.close()

    def _release(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def _is_head(data: bytes) -> bool:
    return data.startswith(_HEAD) and data.endswith(_END_OF_HEAD) and not data.startswith(_CONTINUE)
