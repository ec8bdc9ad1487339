"""Results of jobs that no message can carry come through shared memory, where a job's replicas share it."""

from types import SimpleNamespace
from typing import cast

import pytest

from fastgshare.gateway.adapters.dispatcher import Dispatcher
from fastgshare.gateway.adapters.invoker import BusInvoker
from fastgshare.gateway.adapters.newcomers import Newcomers
from fastgshare.gateway.adapters.waiting import AnswerInbox
from fastgshare.gateway.core.gatekeeper import Gatekeeper, Limits
from fastgshare.gateway.core.tickets import JOB_DOOR, Action, Dispatch
from fastgshare.gateway.core.turned_away import TurnedAway
from fastgshare.shared.bus import Bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.ids import HostId, NodeId
from fastgshare.shared.messages import INFER_VERSION, InferReply, InferRequest, SlotRef, Tensor
from fastgshare.shared.slots import write_slot
from fastgshare.shared.tracing import new_trace
from tests.gateway.core.scene import FN, HOST, request, spec, status

MIB = 1 << 20
TOO_LARGE = ErrorBody(ErrorCode.TOO_LARGE, "the outputs do not fit a message")


class Worker:
    """In the dispatcher's place: answers each request with `size_bytes`, in its slot or not at all."""

    def __init__(self, size_bytes: int) -> None:
        self.result = bytes([7]) * size_bytes
        self.runs = 0
        self.inbox: AnswerInbox

    async def perform(self, action: Action) -> None:
        """Run what is dispatched."""
        assert isinstance(action, Dispatch)
        self.runs += 1
        room = decode(InferRequest, action.ticket.payload).reply_slot
        reply = InferReply(INFER_VERSION, error=TOO_LARGE, attempt=action.attempt)
        if room is not None and room.size_bytes >= len(self.result):
            write_slot(room, [self.result])
            slot = SlotRef(room.host, room.name, room.offset_bytes, len(self.result))
            output = Tensor("y", "UINT8", (len(self.result),), slot=slot)
            reply = InferReply(INFER_VERSION, (output,), attempt=action.attempt)
        message = SimpleNamespace(subject=action.ticket.reply, data=encode(reply), headers=None)
        await self.inbox._on_answer(message)  # type: ignore[arg-type]  # as the bus would


def invoker_on(host: HostId, worker: Worker) -> BusInvoker:
    """A gateway on `host`, before one replica on `HOST`."""
    connection = SimpleNamespace(new_inbox=lambda: "_INBOX.x")
    bus = cast(Bus, SimpleNamespace(connection=connection, max_payload_bytes=MIB))
    gatekeeper, now_us = Gatekeeper(Limits()), unix_us()
    gatekeeper.function_defined(spec())
    gatekeeper.node_seen(NodeId("n"), now_us)
    gatekeeper.replica_reported(status("one"), now_us)
    worker.inbox = AnswerInbox(bus, lambda _: None)
    dispatcher = cast(Dispatcher, SimpleNamespace(perform=worker.perform, enqueue=lambda _: None))
    newcomers = cast(Newcomers, SimpleNamespace(wait_for=None))
    return BusInvoker(bus, gatekeeper, dispatcher, worker.inbox, newcomers, TurnedAway(), host)


async def ask(invoker: BusInvoker, door: str = JOB_DOOR) -> InferReply:
    return await invoker.invoke(FN, request(), unix_us() + 10_000_000, new_trace(), door)


async def test_a_jobs_large_result_comes_through_shared_memory() -> None:
    worker = Worker(9 * MIB)
    invoker = invoker_on(HOST, worker)
    try:
        assert bytes((await ask(invoker)).outputs[0].data) == worker.result
        assert worker.runs == 2  # one found out how large it is
        assert bytes((await ask(invoker)).outputs[0].data) == worker.result
        assert worker.runs == 3
        assert (await ask(invoker, "http")).error == TOO_LARGE  # only jobs are kept for
        assert not invoker._reply_room  # nor does another request take so much memory
    finally:
        invoker.close()


async def test_jobs_wait_while_shared_memory_is_taken() -> None:
    worker = Worker(9 * MIB)
    invoker = invoker_on(HOST, worker)
    try:
        await ask(invoker)
        held = [slot for _ in range(20) if (slot := invoker._slots.take(60 * MIB)) is not None]
        refused = await ask(invoker)
        assert refused.error is not None
        assert refused.error.code is ErrorCode.OVERLOADED  # what a job waits for
        for slot in held:
            invoker._slots.abandon(slot)
        assert (await ask(invoker)).error is None
    finally:
        invoker.close()


async def test_a_result_that_shared_memory_cannot_carry_takes_none_for_the_others_of_its_function() -> None:
    worker = Worker(65 * MIB)
    invoker = invoker_on(HOST, worker)
    try:
        for runs in (2, 4):
            assert (await ask(invoker)).error == TOO_LARGE
            assert worker.runs == runs  # each was tried without first
    finally:
        invoker.close()


@pytest.mark.parametrize("size_bytes", [9 * MIB, 65 * MIB])
async def test_what_no_way_can_carry_is_said_to_be_too_large(size_bytes: int) -> None:
    worker = Worker(size_bytes)
    invoker = invoker_on(HOST if size_bytes > 64 * MIB else HostId("elsewhere"), worker)
    try:
        for _ in range(2):
            assert (await ask(invoker)).error == TOO_LARGE
    finally:
        invoker.close()
