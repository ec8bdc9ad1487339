"""The connection every process holds: opened here, reconnecting for as long as the process lives.

What nats-py does that this module works around: a slow consumer drops silently unless `error_cb` is set; a watch is
blind after a server restart (callers hang `on_reconnect` callbacks); `drain()` loses work handed to other tasks
(handlers unsubscribe and finish first, then the connection is flushed and closed).
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import anyio
import msgspec
import nats
from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext

from fastgshare.shared import subjects
from fastgshare.shared.access import Access, inbox_prefix, read_access
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import BusUnavailable, FastGShareError, PayloadInvalid
from fastgshare.shared.messages import Event
from fastgshare.shared.prompt import PromptClient

RECONNECT_WAIT_S = 0.1
PING_INTERVAL_S = 5
PENDING_BYTES = 64 << 20
SUBSCRIPTION_MESSAGES = 65_536
SUBSCRIPTION_BYTES = 256 << 20
CONTROL_TIMEOUT_S = 5.0

M = TypeVar("M", bound=msgspec.Struct)

NO_RESPONDERS = {"Status": "503"}  # as the server says that nobody listens; who is about to go may say so too

logger = logging.getLogger(__name__)


class BusConfig(msgspec.Struct, frozen=True):
    """How to reach the bus: the server's URL, this connection's name, and how long the first connect may take.

    `url` may name the servers of a cluster, with commas between, and a user; the password is there too or in
    `password_file`. A user's inboxes bear its name, and it hears no others.
    """

    url: str = "nats://127.0.0.1:4222"
    name: str = "fastgshare"
    connect_timeout_s: float = 20.0
    password_file: str = ""


class NoAnswer(FastGShareError):
    """Nobody answered a request in time, or nobody listens: fields `subject`, `timeout_s`, `reason`."""


class Bus:
    """One NATS connection with JetStream. Made by `open_bus`."""

    def __init__(self, connection: PromptClient, jetstream: JetStreamContext, name: str) -> None:
        self.connection = connection
        self.jetstream = jetstream
        self.name = name
        self._reconnect_callbacks: list[Callable[[], None]] = []

    @property
    def max_payload_bytes(self) -> int:
        """The largest message the server takes."""
        return self.connection.max_payload

    @property
    def is_connected(self) -> bool:
        """Whether the server is there right now."""
        return self.connection.is_connected

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each reconnect: what was in flight may be lost and watches are blind."""
        self._reconnect_callbacks.append(callback)

    def forget_reconnect(self, callback: Callable[[], None]) -> None:
        """Undo `on_reconnect`."""
        self._reconnect_callbacks.remove(callback)

    @contextmanager
    def until_reconnected(self) -> Iterator[anyio.CancelScope]:
        """Await an answer in here: given up when the connection is made anew, for then it never comes.

        Begun while the server is away it is not: what was asked is sent, and answered, once it is back.
        """
        with anyio.CancelScope() as answering:
            in_vain = self.is_connected
            if in_vain:
                self.on_reconnect(answering.cancel)
            try:
                yield answering
            finally:
                if in_vain:
                    self.forget_reconnect(answering.cancel)

    def reconnected(self) -> None:
        """Run the reconnect callbacks; called by the connection."""
        for callback in list(self._reconnect_callbacks):
            callback()

    async def publish(
        self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Send without waiting for anyone; buffered while disconnected."""
        await self.connection.publish(subject, payload, reply, headers)

    def publish_now(self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None) -> bool:
        """Send from where nothing can be awaited; False when the outgoing buffer has no room.

        nats-py's `publish` suspends only to wait for that room, so with room it ends at the first step.
        """
        if self.connection.pending_data_size + len(payload) > PENDING_BYTES // 2:
            return False
        sending = self.connection.publish(subject, payload, reply, headers)
        try:
            sending.send(None)
        except StopIteration:
            return True
        sending.close()
        return False

    async def request(
        self, subject: str, payload: bytes, timeout_s: float, headers: dict[str, str] | None = None
    ) -> Msg:
        """Send and await the first reply.

        Raises:
            NoAnswer: no reply within `timeout_s`, or nobody subscribes to `subject`.
        """
        try:
            return await self.connection.request(subject, payload, timeout=timeout_s, headers=headers)
        except nats_errors.NoRespondersError as error:
            raise NoAnswer(subject=subject, timeout_s=timeout_s, reason="no_responders") from error
        except (TimeoutError, nats_errors.Error) as error:
            reason = "timeout" if isinstance(error, TimeoutError) else str(error)
            raise NoAnswer(subject=subject, timeout_s=timeout_s, reason=reason) from error

    async def subscribe(
        self, subject: str, callback: Callable[[Msg], Awaitable[None]], queue: str = ""
    ) -> Subscription:
        """Deliver to `callback`, one message at a time: it must not wait for anything slow."""
        return await self.connection.subscribe(
            subject,
            queue=queue,
            cb=callback,
            pending_msgs_limit=SUBSCRIPTION_MESSAGES,
            pending_bytes_limit=SUBSCRIPTION_BYTES,
        )

    async def subscribe_prompt(
        self, subject: str, callback: Callable[[Msg], Awaitable[None]], queue: str = ""
    ) -> Subscription:
        """As `subscribe`, without a queue and a task between: `callback` must not wait for anything that comes in."""
        return await self.connection.subscribe_prompt(subject, callback, queue)

    async def listen(self, subject: str, kind: type[M], take: Callable[[M], None]) -> Subscription:
        """Call `take` with every message on `subject`; what is no `kind` is logged with its subject and let be."""

        async def on_message(msg: Msg) -> None:
            try:
                message = decode(kind, msg.data)
            except PayloadInvalid as error:
                logger.warning("message on %s ignored: %s", msg.subject, error)
                return
            take(message)

        return await self.subscribe(subject, on_message)

    async def flush(self, timeout_s: float = CONTROL_TIMEOUT_S) -> None:
        """Return once the server has taken in everything published and subscribed to before.

        nats-py's `flush` does not tell: its ping overtakes commands that wait to be written. A message to
        ourselves waits its turn.

        Raises:
            NoAnswer: it did not come back within `timeout_s`.
        """
        inbox = self.connection.new_inbox()
        try:
            own = await self.connection.subscribe(inbox)
            try:
                await self.connection.publish(inbox)
                await own.next_msg(timeout_s)
            finally:
                await own.unsubscribe()
        except (TimeoutError, nats_errors.Error) as error:
            reason = str(error) or type(error).__name__
            raise NoAnswer(subject=inbox, timeout_s=timeout_s, reason=reason) from error

    async def tell(self, kind: str, function: str = "", text: str = "", **fields: str | int | float) -> None:
        """Publish an event; a lost one costs nothing but a line in somebody's log."""
        event = Event(kind=kind, source=self.name, at_us=unix_us(), function=function, text=text, fields=fields)
        try:
            await self.publish(subjects.event(kind, function), encode(event))
        except nats_errors.Error as error:
            logger.warning("event %s not published: %s", kind, error)


def is_no_responders(msg: Msg) -> bool:
    """Whether this is the server saying that nobody listens, rather than somebody's answer."""
    return not msg.data and msg.headers is not None and msg.headers.get("Status") == NO_RESPONDERS["Status"]


@asynccontextmanager
async def open_bus(config: BusConfig) -> AsyncIterator[Bus]:
    """Connect and keep connected.

    Raises:
        BusUnavailable: no server answered within `connect_timeout_s`.
    """
    access = read_access(config.url, config.password_file)
    connection = PromptClient()
    bus = Bus(connection, connection.jetstream(timeout=CONTROL_TIMEOUT_S), config.name)
    await _connect(connection, bus, config, access)
    try:
        yield bus
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(2):
            await _close(connection)


async def _connect(connection: Client, bus: Bus, config: BusConfig, access: Access) -> None:
    async def on_error(error: Exception) -> None:
        logger.warning("bus %s: %s %s", config.name, type(error).__name__, error)

    async def on_reconnected() -> None:
        logger.info("bus %s: reconnected", config.name)
        bus.reconnected()

    try:
        with anyio.fail_after(config.connect_timeout_s):
            await connection.connect(
                list(access.servers),
                name=config.name,
                user=access.user or None,
                password=access.password if access.user else None,
                inbox_prefix=inbox_prefix(access.user),
                error_cb=on_error,
                reconnected_cb=on_reconnected,
                max_reconnect_attempts=-1,
                reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]  # annotated int, a float works
                ping_interval=PING_INTERVAL_S,
                pending_size=PENDING_BYTES,
                skip_subject_validation=True,  # ours are made of checked names, replies were valid when they arrived
            )
    except (TimeoutError, OSError, nats.errors.Error) as error:
        raise BusUnavailable(url=",".join(access.servers), reason=str(error) or "timeout") from error


async def _close(connection: Client) -> None:
    if not await _flushed(connection):
        # nats-py writes what is pending even into a connection that is gone, and then leaves its tasks behind.
        connection._pending, connection._pending_data_size = [], 0  # noqa: SLF001
    try:
        await connection.close()
    except OSError as error:
        logger.warning("bus not closed in order: %s", error)


async def _flushed(connection: Client) -> bool:
    try:
        if connection.is_connected:
            await connection.flush(1)
            return True
    except (TimeoutError, OSError, nats.errors.Error) as error:
        logger.warning("bus closed with messages unsent: %s", error)
    return False
