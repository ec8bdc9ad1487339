"""Large tensors of a client: through shared memory where every replica of the function is on this host.

What is needed to tell, a mirror of the replicas, is kept only from the first large request on.
"""

import anyio
import anyio.abc

from fastgshare.shared import subjects
from fastgshare.shared.buckets import Mirror
from fastgshare.shared.bus import Bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import InferReply, InferRequest, ReplicaState, ReplicaStatus
from fastgshare.shared.slots import INLINE_LIMIT_BYTES, Slot, SlotPool, host_id, sweep_orphans
from fastgshare.shared.slotted import inline_bytes, into_slot, out_of_slot
from fastgshare.shared.units import us_to_s

FIRST_LIST_S = 1.0


class LargeTensors:
    """Decides which requests take a slot, and what becomes of the slot."""

    def __init__(self, bus: Bus, tasks: anyio.abc.TaskGroup) -> None:
        self._tasks = tasks
        self._pool = SlotPool(host_id())
        self._mirror = Mirror(bus, subjects.REPLICAS, ReplicaStatus, self._on_replica)
        self._listed: anyio.Event | None = None
        self._function_of: dict[str, FunctionName] = {}
        self._elsewhere: dict[FunctionName, set[str]] = {}
        self._reply_bytes: dict[FunctionName, int] = {}
        self._unreachable: set[FunctionName] = set()

    def concerns(self, function: FunctionName, request: InferRequest) -> bool:
        """Whether inputs, or outputs as large as seen before, are worth a slot."""
        largest = max(inline_bytes(request), self._reply_bytes.get(function, 0))
        return largest > INLINE_LIMIT_BYTES and request.reply_slot is None

    async def into_slot(
        self, function: FunctionName, request: InferRequest, patience_s: float
    ) -> tuple[InferRequest, Slot] | None:
        """The request in a slot; None when it has to go inline."""
        await self._list(min(FIRST_LIST_S, patience_s))
        if self._elsewhere.get(function) or function in self._unreachable:
            return None
        room_bytes = max(inline_bytes(request), self._reply_bytes.get(function, 0))
        return into_slot(request, self._pool, room_bytes)

    def out_of_slot(self, function: FunctionName, reply: InferReply, slot: Slot) -> InferReply:
        """The reply, its outputs inline; the slot may carry another request."""
        if reply.error is not None and reply.error.code is ErrorCode.TENSOR_UNREACHABLE:
            self._unreachable.add(function)
        inline = out_of_slot(reply, slot)
        self._pool.give_back(slot)
        return inline

    def abandon(self, slot: Slot) -> None:
        """No answer came."""
        self._pool.abandon(slot)

    def saw(self, function: FunctionName, reply: InferReply) -> None:
        """Remember how large this function's replies, out of their slots, get: the next slot has that much room."""
        size_bytes = sum(tensor.data.nbytes for tensor in reply.outputs)
        if size_bytes > self._reply_bytes.get(function, INLINE_LIMIT_BYTES):
            self._reply_bytes[function] = size_bytes

    def close(self) -> None:
        """Unlink what is not in use."""
        self._pool.close()

    async def _list(self, patience_s: float) -> None:
        if self._listed is None:
            self._listed = anyio.Event()
            self._tasks.start_soon(self._follow, self._listed)
            sweep_orphans(us_to_s(unix_us()))
        if not self._listed.is_set():
            with anyio.move_on_after(patience_s):
                await self._listed.wait()

    async def _follow(self, listed: anyio.Event) -> None:
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._mirror.run)
            listed.set()

    def _on_replica(self, key: str, status: ReplicaStatus | None) -> None:
        if (known := self._function_of.pop(key, None)) is not None:
            self._elsewhere[known].discard(key)
        if status is None or status.state is not ReplicaState.READY or status.loan:
            return
        # Where its replicas are has changed, so what was out of reach may not be so any more.
        self._unreachable.discard(status.function)
        if status.host != self._pool.host:
            self._function_of[key] = status.function
            self._elsewhere.setdefault(status.function, set()).add(key)
