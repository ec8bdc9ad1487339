"""Answers on their way out: straight to the callers, and batched notices of them to the gateways that sent them."""

import logging
from collections import deque
from collections.abc import Callable

import anyio
import nats.errors

from fastgshare.node_manager.worker.assemble import Request
from fastgshare.shared import subjects
from fastgshare.shared.bus import Bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import encode
from fastgshare.shared.errors import ErrorBody
from fastgshare.shared.ids import GatewayId, ReplicaId
from fastgshare.shared.messages import INFER_VERSION, Completion, DoneNotice, Timing

logger = logging.getLogger(__name__)

Key = tuple[GatewayId, ReplicaId]


class Answers:
    """Publishes answers in order of completion; `put` never waits, the tasks `send` and `notify` do.

    An answer that the connection refuses is lost like one on the wire: its caller and gateway try again.
    """

    def __init__(
        self,
        bus: Bus,
        incarnation: str,
        depth_of: Callable[[ReplicaId], int],
        notice_interval_s: float,
        notice_batch: int,
    ) -> None:
        self._bus = bus
        self._incarnation = incarnation
        self._depth_of = depth_of
        self._interval_s = notice_interval_s
        self._batch = notice_batch
        self._outbox: deque[tuple[str, bytes]] = deque()
        self._outbox_filled = anyio.Event()
        self._done: dict[Key, list[Completion]] = {}
        self._done_added = anyio.Event()
        self._answered: dict[ReplicaId, int] = {}

    def put(
        self, request: Request, replica: ReplicaId, payload: bytes, error: ErrorBody | None, timing: Timing
    ) -> None:
        """Answer a request."""
        self._publish(request.reply, payload)
        self._answered[replica] = self._answered.get(replica, 0) + 1
        if request.gateway is not None:
            code = error.code.value if error is not None else ""
            completion = Completion(request.attempt, error is None, timing, unix_us(), code)
            done = self._done.setdefault((request.gateway, replica), [])
            done.append(completion)
            self._done_added.set()
            if len(done) >= self._batch:
                self._push_notice((request.gateway, replica))

    async def send(self) -> None:
        """Publish what is put, until cancelled."""
        while True:
            await self._outbox_filled.wait()
            self._outbox_filled = anyio.Event()
            while self._outbox:
                subject, payload = self._outbox.popleft()
                try:
                    await self._bus.publish(subject, payload)
                except nats.errors.Error as error:
                    logger.warning("answer not sent: %s", error)

    async def notify(self) -> None:
        """Send out notices that did not fill up within the interval, until cancelled."""
        while True:
            await self._done_added.wait()
            self._done_added = anyio.Event()
            await anyio.sleep(self._interval_s)
            for key in list(self._done):
                self._push_notice(key)

    def take_answered(self) -> dict[ReplicaId, int]:
        """How many requests of each replica were answered since the last call."""
        taken, self._answered = self._answered, {}
        return taken

    @property
    def idle(self) -> bool:
        """Whether everything put has been handed to the connection."""
        return not self._outbox and not self._done

    def _push_notice(self, key: Key) -> None:
        gateway, replica = key
        completions = self._done.pop(key, None)
        if not completions:
            return
        notice = DoneNotice(INFER_VERSION, replica, self._incarnation, self._depth_of(replica), tuple(completions))
        self._publish(subjects.done(gateway), encode(notice))

    def _publish(self, subject: str, payload: bytes) -> None:
        """At once where there is room: the way through `send` costs two turns of the event loop."""
        try:
            if not self._outbox and self._bus.publish_now(subject, payload):
                return
        except nats.errors.Error as error:
            logger.warning("answer not sent: %s", error)
            return
        self._outbox.append((subject, payload))
        self._outbox_filled.set()
