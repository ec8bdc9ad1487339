"""One HTTP connection: uvicorn's, with the bounds it lacks and word of a caller who hangs up.

Bounded here: how large a request's head is and how long it may take, how many connections there are, and how much of
a body is read off after it was refused. A request that waits for its answer registers its task in `waiting`; it is
cancelled when the connection is lost, which costs the others nothing.
"""

import asyncio
import re
import resource
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from fastgshare.gateway.http.errors import error_content
from fastgshare.gateway.http.joined import JoinedWrites

STATE_KEY = "fastgshare.connection"
BAD_REQUEST = 400
HEAD_TOO_LARGE = 431
UNAVAILABLE = 503


_OFFER = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
_NO_OFFER = b"\r\nx-offer:"


def most_connections(open_files: int) -> int:
    """How many connections fit beside everything else a process has open, given its limit of open files."""
    return 4096 if open_files == resource.RLIM_INFINITY else min(4096, open_files // 2)


class HeadTooLarge(Exception):
    """Raised through the parser, which stops and reports a bad request."""


class Connection(HttpToolsProtocol):
    """A connection with bounds. Made by uvicorn, one for each client."""

    max_head_bytes = 32 << 10
    head_timeout_s = 20.0
    max_discarded_bytes = 256 << 20
    discard_timeout_s = 20.0
    max_connections = most_connections(resource.getrlimit(resource.RLIMIT_NOFILE)[0])

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, STATE_KEY: self}, _loop)
        self.waiting: asyncio.Task[Any] | None = None
        self.is_lost = False
        self._running: RequestResponseCycle | None = None
        self._in_head = True
        self._head_bytes = 0
        self._discarded_bytes = 0
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there: it has to say something before long."""
        super().connection_made(JoinedWrites(transport))  # type: ignore[arg-type]  # all that is asked of it
        if len(self.connections) > self.max_connections:
            self._refuse(UNAVAILABLE, "too many connections", b"retry-after: 1\r\n")
            return
        self._be_patient(self.head_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone: nobody needs the answer any more."""
        super().connection_lost(exc)
        self.is_lost = True
        self._stop_patience()
        if self._running is not None:
            self._running.disconnected = True  # the parent marks the newest request, which may be queued behind it
        if self.waiting is not None:
            self.waiting.cancel()

    def data_received(self, data: bytes) -> None:
        """Parse, and watch over what is not complete."""
        self._head_bytes += len(data)
        if self._in_head or self.cycle.response_complete:
            data = without_offer(data)
        super().data_received(data)
        if self._in_head:
            self._check_head()
        elif self.cycle.response_complete:  # what comes now is read off, or is less than the start of a head
            self._be_patient(self.discard_timeout_s)
        elif self._patience is not None:
            self._stop_patience()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is there: start the application unless the head was too large."""
        if self._head_bytes > self.max_head_bytes and self._size_of_head() > self.max_head_bytes:
            raise HeadTooLarge
        super().on_headers_complete()
        self._in_head = False
        self._head_bytes = 0
        self._discarded_bytes = 0
        if self.parser.should_upgrade():  # an offer that was cut in two: the parser stops after this message
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """A piece of a body: to the application, or off if it was answered already."""
        super().on_body(body)
        if self.cycle.response_complete:
            self._discarded_bytes += len(body)
            if self._discarded_bytes > self.max_discarded_bytes:
                self.transport.close()

    def on_message_complete(self) -> None:
        """The request is complete; behind it may lie the beginning of the next."""
        self._head_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What the parser could not read is refused like everything else here."""
        if self._in_head and self._head_bytes > self.max_head_bytes:
            self._refuse_head()
        else:
            self._refuse(BAD_REQUEST, "not an HTTP request")

    @property
    def has_whole_body(self) -> bool:
        """Whether nothing of the running request's body is still to come."""
        return self._running is not None and not self._running.more_body

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _unsupported_upgrade_warning(self) -> None:
        """Clients that offer an upgrade are answered without one; that is no news."""

    def _check_head(self) -> None:
        if self._head_bytes > self.max_head_bytes:
            self._refuse_head()
        else:
            self._be_patient(self.head_timeout_s)

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _refuse_head(self) -> None:
        self._refuse(HEAD_TOO_LARGE, f"the head is larger than the limit of {self.max_head_bytes} bytes")

    def _refuse(self, status: int, message: str, header: bytes = b"") -> None:
        if self.transport.is_closing():
            return
        content, headers = error_content(message)
        lines = [name + b": " + value + b"\r\n" for name, value in headers]
        self.transport.write(b"".join([STATUS_LINE[status], *lines, header, b"connection: close\r\n\r\n", content]))
        self.transport.close()

    def _be_patient(self, timeout_s: float) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(timeout_s, self._lose_patience)

    def _stop_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        self._patience = None
        self.transport.close()


def without_offer(data: bytes) -> bytes:
    """`data`, which begins in a head, without a client's offer to change the protocol.

    Java's client makes it with every request; the parser would take the body for the other protocol's. Renamed
    in place, so that the offer is declined and everything else is as it was.
    """
    if _OFFER.search(data, 0, Connection.max_head_bytes) is None:
        return data
    head, blank, rest = data.partition(b"\r\n\r\n")
    return _OFFER.sub(_NO_OFFER, head) + blank + rest


def connection_of(scope: Any) -> Connection | None:
    """The connection that a request came by; None where something else than our server calls the application."""
    connection: Connection | None = scope.get("state", {}).get(STATE_KEY)
    return connection
