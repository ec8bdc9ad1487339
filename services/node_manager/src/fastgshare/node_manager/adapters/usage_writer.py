"""Writes what functions used of this node's devices into the stream that bills are made of.

Each record goes there once: it is sent again under its own id until the stream has taken it. While that cannot be,
books go on being added to, and the next records cover a longer time: nothing is lost, and little waits.
"""

import logging
from collections import deque
from collections.abc import Collection
from typing import Protocol

import anyio

from fastgshare.node_manager.core.books import DeviceBooks
from fastgshare.shared import subjects
from fastgshare.shared.buckets import BUS_FAULTS
from fastgshare.shared.bus import Bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import encode
from fastgshare.shared.ids import DeviceId, NodeId
from fastgshare.shared.messages import UsageRecord

ACK_S = 5.0
LAST_S = 3.0
MAX_WAITING = 64
ID_HEADER = "Nats-Msg-Id"

logger = logging.getLogger(__name__)


class Booked(Protocol):
    """A device with books."""

    device_id: DeviceId
    sms: int
    books: DeviceBooks

    @property
    def kind(self) -> str:
        """The key of its profiles."""
        ...


class UsageWriter:
    """The records of one life of a node."""

    def __init__(
        self, bus: Bus, node: NodeId, incarnation: str, devices: Collection[Booked], interval_s: float
    ) -> None:
        self._bus = bus
        self._node = node
        self._incarnation = incarnation
        self._devices = devices
        self._interval_s = interval_s
        self._sequence = 0
        self._waiting: deque[UsageRecord] = deque()
        self._writing = anyio.Lock()

    @property
    def waiting(self) -> int:
        """Records that the stream has not taken yet."""
        return len(self._waiting)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await anyio.sleep(self._interval_s)
            self._close_books()
            await self._write()

    async def finish(self) -> None:
        """Write what is left, in a bounded time; call it once the devices have stopped."""
        with anyio.move_on_after(LAST_S):
            self._close_books()
            await self._write()
        if self._waiting:
            logger.warning("%d usage records are lost: the stream did not take them", len(self._waiting))

    def _close_books(self) -> None:
        now_us = unix_us()
        for device in self._devices:
            if len(self._waiting) < MAX_WAITING:
                self._close(device, now_us)

    def _close(self, device: Booked, now_us: int) -> None:
        from_us, functions = device.books.take(now_us)
        if not functions:
            return
        self._sequence += 1
        record = UsageRecord(
            node=self._node,
            device=device.device_id,
            kind=device.kind,
            sms=device.sms,
            incarnation=self._incarnation,
            sequence=self._sequence,
            from_us=from_us,
            to_us=now_us,
            functions=functions,
        )
        self._waiting.append(record)

    async def _write(self) -> None:
        async with self._writing:
            try:
                while self._waiting and self._bus.is_connected:
                    await self._put(self._waiting[0])
                    self._waiting.popleft()
            except BUS_FAULTS as error:
                logger.info("usage not written, again later: %s", error)

    async def _put(self, record: UsageRecord) -> None:
        await self._bus.jetstream.publish(
            subjects.usage(self._node),
            encode(record),
            timeout=ACK_S,
            stream=subjects.USAGE_STREAM,
            headers={ID_HEADER: record.id},
        )
