"""A nats-py connection with fewer task switches; docs/decisions/0003 has the figures.

nats-py hands every published message to a flusher task. Under load that is right: what was published meanwhile leaves
in one write. A lone message only waits for the task, so below a few thousand messages a second it is written where it
is published.

nats-py hands every received message to a queue and a task per subscription. A prompt subscription's callback is awaited
where the message is parsed instead.

Everything else, back-pressure and reconnecting included, is nats-py's own. This overrides two of its private methods,
so its minor version is pinned and `tests/shared/test_prompt.py` holds what is relied on.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from fastgshare.shared.clock import monotonic_us

WINDOW_US = 10_000
QUIET_MESSAGES = 28
LONE_US = 200
CONGESTED_BYTES = 64 << 10


class PromptClient(Client):
    """A `Client` whose lone messages leave at once, and that can call back without a queue between."""

    def __init__(self) -> None:
        super().__init__()
        self._window_ends_us = 0
        self._sent_before = 0
        self._flushed_us = 0
        self._is_quiet = True
        self._prompt: dict[int, Callable[[Msg], Awaitable[None]]] = {}

    async def subscribe_prompt(
        self, subject: str, callback: Callable[[Msg], Awaitable[None]], queue: str = ""
    ) -> Subscription:
        """Await `callback` for each message while it is parsed.

        It holds up the whole connection meanwhile, so it may publish, but never wait for anything that comes in here.
        """
        subscription = await self.subscribe(subject, queue=queue, cb=callback)
        self._prompt[subscription._id] = callback  # noqa: SLF001  # the key that messages come with
        return subscription

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        callback = self._prompt.get(sid)
        if callback is None or sid not in self._subs:
            self._prompt.pop(sid, None)
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        parsed = await self._process_headers(headers) if headers else None
        try:
            await callback(Msg(self, subject.decode(), reply.decode(), data, parsed))
        except Exception as error:  # as nats-py does: a callback's fault is reported, not the connection's end
            await self._error_cb(error)

    async def _flush_pending(self, force_flush: bool = False) -> Any:
        transport = self._transport
        may_write = self._is_lone(monotonic_us()) and self.is_connected and not self._is_congested()
        if force_flush or transport is None or not may_write:
            return await super()._flush_pending(force_flush)
        if self._pending_data_size > 0:
            transport.writelines(self._pending)
            self._pending = []
            self._pending_data_size = 0
        return None

    def _is_lone(self, now_us: int) -> bool:
        """Whether this message has no company: none just before it, and few in the last window."""
        if now_us >= self._window_ends_us:
            sent = self.stats["out_msgs"]
            self._is_quiet = sent - self._sent_before <= QUIET_MESSAGES
            self._window_ends_us, self._sent_before = now_us + WINDOW_US, sent
        gap_us = now_us - self._flushed_us
        self._flushed_us = now_us
        return self._is_quiet and gap_us > LONE_US

    def _is_congested(self) -> bool:
        """Whether the server does not keep up: then nats-py's flusher waits for it."""
        writer = getattr(self._transport, "_io_writer", None)
        return writer is None or writer.transport.get_write_buffer_size() > CONGESTED_BYTES
