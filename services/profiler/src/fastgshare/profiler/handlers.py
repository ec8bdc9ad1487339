"""From the bus to facts: requests, heartbeats, and the changes of the mirrored buckets."""

import logging
from collections.abc import Callable

import anyio
from nats.aio.msg import Msg

from fastgshare.profiler.core.commands import Answer
from fastgshare.profiler.core.facts import (
    Fact,
    FunctionChanged,
    NodeHeard,
    ProfileAsked,
    ReplicaChanged,
    TableSeen,
)
from fastgshare.profiler.core.keys import TableKey
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket, StorageUnavailable
from fastgshare.shared.bus import Bus
from fastgshare.shared.codec import decode
from fastgshare.shared.errors import PayloadInvalid
from fastgshare.shared.ids import FunctionName, ReplicaId, is_name
from fastgshare.shared.messages import (
    FunctionSpec,
    NodeStatus,
    Profile,
    ProfileProgress,
    ProfileRequest,
    ProfileState,
    ReplicaStatus,
)
from fastgshare.shared.units import s_to_us

REQUESTS_WAITING = 64

logger = logging.getLogger(__name__)


class Handlers:
    """What is subscribed to. Callbacks return at once; requests wait in a bounded queue for `serve_requests`."""

    def __init__(self, bus: Bus, learn: Callable[[Fact], None], answer: Callable[[Answer], None]) -> None:
        self._learn = learn
        self._answer = answer
        self._functions = Bucket(bus, subjects.FUNCTIONS, FunctionSpec)
        self._inbox, self._requests = anyio.create_memory_object_stream[Msg](REQUESTS_WAITING)

    def function_changed(self, key: str, spec: FunctionSpec | None) -> None:
        """The bucket `functions` has this now."""
        self._learn(FunctionChanged(FunctionName(key), spec))

    def replica_changed(self, key: str, status: ReplicaStatus | None) -> None:
        """The bucket `replicas` has this now."""
        self._learn(ReplicaChanged(ReplicaId(key.rpartition(".")[2]), status))

    def table_changed(self, key: str, table: Profile | None) -> None:
        """The bucket `profiles` has this now."""
        self._learn(TableSeen(TableKey(key), table))

    def node_heard(self, status: NodeStatus) -> None:
        """A node's heartbeat."""
        self._learn(NodeHeard(status))

    async def on_request(self, msg: Msg) -> None:
        """Somebody wants a table. Without a reply subject nobody waits for it, and nothing is measured for nobody."""
        if not msg.reply:
            logger.warning("%s ignored: it names no reply subject", msg.subject)
            return
        try:
            self._inbox.send_nowait(msg)
        except anyio.WouldBlock:
            self._refuse(msg, f"more than {REQUESTS_WAITING} requests wait for the profiler")

    async def serve_requests(self) -> None:
        """Take requests one after the other until cancelled."""
        with self._inbox, self._requests:
            async for msg in self._requests:
                try:
                    request = decode(ProfileRequest, msg.data)
                except PayloadInvalid as error:
                    self._refuse(msg, str(error))
                    continue
                await self._take(request, msg)

    async def _take(self, request: ProfileRequest, msg: Msg) -> None:
        if not is_name(request.function):
            self._refuse(msg, f"there is no function '{request.function}'")
            return
        function = FunctionName(request.function)
        try:
            # Whoever deploys and asks at once is faster than a mirror.
            found = await self._functions.get(function)
            self._learn(FunctionChanged(function, found[0] if found else None))
        except (StorageUnavailable, PayloadInvalid) as error:
            logger.warning("function %s taken as last seen: %s", function, error)
        budget_us = s_to_us(request.budget_s)
        self._learn(ProfileAsked(function, msg.reply, request.again, request.grid, budget_us))

    def _refuse(self, msg: Msg, reason: str) -> None:
        function = msg.subject.rpartition(".")[2]
        state = ProfileState.FAILED
        progress = ProfileProgress(function=function, done=0, planned=0, state=state, reason=reason)
        self._answer(Answer(msg.reply, progress))
