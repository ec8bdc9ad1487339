"""Who waits for answers that come through this gateway: one future a request, or a queue where it has parts."""

import asyncio
from collections import deque
from collections.abc import Callable

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from fastgshare.shared.bus import Bus, is_no_responders
from fastgshare.shared.codec import decode
from fastgshare.shared.errors import ErrorBody, ErrorCode, PayloadInvalid
from fastgshare.shared.ids import RequestId
from fastgshare.shared.messages import INFER_VERSION, InferReply
from fastgshare.shared.parts import PartOrder, whole

WAITING_PARTS = 256
WAITING_BYTES = 16 << 20


def refused(code: ErrorCode, message: str, retry_after_ms: int = 0) -> InferReply:
    """A refusal that this gateway makes."""
    return InferReply(INFER_VERSION, error=ErrorBody(code, message, retry_after_ms))


class Parts:
    """The parts of one answer, in order; what waits for its caller is bounded in number and in bytes."""

    def __init__(self) -> None:
        self._order = PartOrder()
        self._waiting: deque[InferReply] = deque()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self._ended = False

    def put(self, reply: InferReply) -> None:
        """One more arrived; nothing follows the end."""
        if self._ended:
            return
        size_bytes = _bytes(reply)
        if self._waiting and (len(self._waiting) >= WAITING_PARTS or self._waiting_bytes + size_bytes > WAITING_BYTES):
            message = f"{len(self._waiting)} parts of the answer, {self._waiting_bytes} bytes, wait for their caller"
            taken: InferReply | None = refused(ErrorCode.OVERLOADED, message)
        else:
            taken = self._order.take(reply)
        if taken is not None:
            self._ended = not taken.more
            self._waiting.append(taken)
            self._waiting_bytes += _bytes(taken)
            self._arrived.set()

    async def next(self) -> InferReply:
        """Wait for the next."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        reply = self._waiting.popleft()
        self._waiting_bytes -= _bytes(reply)
        return reply


def _bytes(reply: InferReply) -> int:
    return sum(tensor.size_bytes for tensor in reply.outputs)


class AnswerInbox:
    """Awaits answers by request id on one subscription.

    `on_nobody` is told of a request that the server could deliver to nobody; its answer is still awaited.
    """

    def __init__(self, bus: Bus, on_nobody: Callable[[RequestId], None]) -> None:
        self._bus = bus
        self._on_nobody = on_nobody
        self._prefix = bus.connection.new_inbox()
        self._waiting: dict[str, asyncio.Future[InferReply]] = {}
        self._parts: dict[str, Parts] = {}

    async def open(self) -> Subscription:
        """Subscribe; call once."""
        return await self._bus.subscribe_prompt(f"{self._prefix}.*", self._on_answer)

    def expect(self, request_id: str) -> tuple[str, "asyncio.Future[InferReply]"]:
        """The reply subject for a request, and the future of its answer."""
        future: asyncio.Future[InferReply] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = future
        return f"{self._prefix}.{request_id}", future

    def expect_parts(self, request_id: str) -> tuple[str, Parts]:
        """The reply subject for a request, and where the parts of its answer will be."""
        parts = self._parts[request_id] = Parts()
        return f"{self._prefix}.{request_id}", parts

    def forget(self, request_id: str) -> None:
        """Nobody waits for this answer any more."""
        if self._waiting.pop(request_id, None) is None:
            self._parts.pop(request_id, None)

    async def _on_answer(self, msg: Msg) -> None:
        request_id = msg.subject.rpartition(".")[2]
        if is_no_responders(msg):
            self._on_nobody(RequestId(request_id))
            return
        future = self._waiting.pop(request_id, None)
        parts = self._parts.get(request_id) if future is None else None
        if (future is None or future.done()) and parts is None:
            return
        try:
            reply = decode(InferReply, msg.data)
        except PayloadInvalid as error:
            reply = refused(ErrorCode.INTERNAL, f"unreadable answer: {error}")
        if future is not None:
            future.set_result(whole(reply))
        elif parts is not None:
            parts.put(reply)
