"""Writes replica statuses into the `replicas` bucket: the latest per replica, until it stands there."""

import logging

import anyio

from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket, StorageUnavailable
from fastgshare.shared.bus import Bus
from fastgshare.shared.ids import NodeId, ReplicaId
from fastgshare.shared.messages import ReplicaStatus

RETRY_S = 0.3

logger = logging.getLogger(__name__)


class StatusWriter:
    """The only writer of this node's keys."""

    def __init__(self, bus: Bus, node: NodeId) -> None:
        self._node = node
        self._bucket = Bucket(bus, subjects.REPLICAS, ReplicaStatus)
        self._wanted: dict[str, ReplicaStatus | None] = {}
        self._added = anyio.Event()

    def put(self, status: ReplicaStatus) -> None:
        """This is the replica's status now."""
        self._want(subjects.fleet_key(self._node, status.replica), status)

    def forget(self, replica: ReplicaId) -> None:
        """The replica is gone."""
        self._want(subjects.fleet_key(self._node, replica), None)

    async def stored(self) -> dict[str, ReplicaStatus]:
        """What a former life of this node left behind. Raises StorageUnavailable."""
        return await self._bucket.list(subjects.node_keys(self._node))

    async def run(self) -> None:
        """Write what is wanted, until cancelled."""
        while True:
            await self._added.wait()
            self._added = anyio.Event()
            await self.flush()

    async def flush(self) -> None:
        """Write everything that is wanted now, however long the bus takes."""
        while self._wanted:
            key = next(iter(self._wanted))
            status = self._wanted.pop(key)
            try:
                if status is None:
                    await self._bucket.delete(key)
                else:
                    await self._bucket.put(key, status)
            except StorageUnavailable as error:
                logger.info("status of %s not written yet: %s", key, error)
                self._wanted.setdefault(key, status)
                await anyio.sleep(RETRY_S)

    def _want(self, key: str, status: ReplicaStatus | None) -> None:
        self._wanted.pop(key, None)
        self._wanted[key] = status
        self._added.set()
