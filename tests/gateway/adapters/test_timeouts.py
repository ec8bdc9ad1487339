"""A deadline that passes here is no caller's doing, though the event loop's timers fire a little early."""

import random
from collections import Counter
from types import SimpleNamespace
from typing import cast

import anyio
import numpy as np

from fastgshare.gateway.adapters.dispatcher import Dispatcher
from fastgshare.gateway.adapters.invoker import BusInvoker
from fastgshare.gateway.adapters.newcomers import Newcomers
from fastgshare.gateway.adapters.waiting import AnswerInbox
from fastgshare.gateway.core.gatekeeper import Gatekeeper, Limits
from fastgshare.gateway.core.tickets import Ticket
from fastgshare.gateway.core.turned_away import TurnedAway
from fastgshare.shared.arrays import to_tensor
from fastgshare.shared.bus import Bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.ids import Digest, FunctionName, HostId
from fastgshare.shared.messages import FunctionSpec, InferRequest, ModelRef, Timing
from fastgshare.shared.tracing import new_trace

FN = FunctionName("fn")
SPEC = FunctionSpec(name=FN, model=ModelRef(digest=Digest("0" * 64), size_bytes=1), generation=1)
REQUEST = InferRequest(1, (to_tensor("x", np.zeros((1, 4), np.float32)),))
CALLS = 100


async def call_without_answer() -> Counter[str]:
    """How requests end that wait here for a replica that never comes, half of them for an answer in parts."""
    bus = cast(
        Bus, SimpleNamespace(connection=SimpleNamespace(new_inbox=lambda: "_INBOX.x"), max_payload_bytes=1 << 20)
    )

    async def perform(_: object) -> None: ...

    gatekeeper, ends = Gatekeeper(Limits()), Counter[str]()

    def ended(_ticket: Ticket, code: str, _end_us: int, _timing: Timing | None) -> None:
        ends[code] += 1

    gatekeeper.watch(ended)
    gatekeeper.function_defined(SPEC)
    dispatcher = cast(Dispatcher, SimpleNamespace(perform=perform, enqueue=lambda _: None))
    newcomers = cast(Newcomers, SimpleNamespace(wait_for=None))
    inbox = AnswerInbox(bus, lambda _: None)
    invoker = BusInvoker(bus, gatekeeper, dispatcher, inbox, newcomers, TurnedAway(), HostId("host"))

    async def call(number: int) -> None:
        deadline_us = unix_us() + random.randint(20_000, 60_000)
        if number % 2:
            await invoker.invoke(FN, REQUEST, deadline_us, new_trace())
        else:
            async for _ in invoker.invoke_stream(FN, REQUEST, deadline_us, new_trace()):
                pass

    async with anyio.create_task_group() as calls:
        for number in range(CALLS):
            calls.start_soon(call, number)
    invoker.close()
    return ends


def test_a_deadline_that_passes_is_counted_as_one() -> None:
    ends = anyio.run(call_without_answer, backend_options={"use_uvloop": True})
    assert ends == {ErrorCode.DEADLINE_EXCEEDED: CALLS}
