"""Tells whoever begins to look what was seen here of late, so that its windows do not begin empty.

A gateway follows the platform for as long as it runs; a terminal, or a gateway that has just started, does not yet.
"""

from itertools import islice

import anyio
import anyio.abc
import anyio.lowlevel
from nats import errors as nats_errors
from nats.aio.msg import Msg

from fastgshare.shared import subjects
from fastgshare.shared.bus import Bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import encode
from fastgshare.shared.ids import GatewayId
from fastgshare.shared.messages import PastTraffic
from fastgshare.shared.overview.fold import Overview

FUNCTIONS_A_MESSAGE = 64
"""A function takes up to 2 KiB, a message at most a MiB."""


async def tell_past(
    bus: Bus,
    gateway: GatewayId,
    overview: Overview,
    *,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Answer `fast.past` until cancelled: at least one message, for it tells that nothing is known, too."""

    async def answer(msg: Msg) -> None:
        if not msg.reply:
            return
        known = overview.past(unix_us())
        functions = dict(islice(known, FUNCTIONS_A_MESSAGE))
        while True:
            try:
                await bus.publish(msg.reply, encode(PastTraffic(gateway=gateway, functions=functions)))
            except nats_errors.Error:
                return  # whoever asked begins with nothing
            await anyio.lowlevel.checkpoint()  # so many take milliseconds, and requests wait meanwhile
            if not (functions := dict(islice(known, FUNCTIONS_A_MESSAGE))):
                return

    subscription = await bus.subscribe(subjects.PAST, answer)
    try:
        task_status.started()
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(1):
            await subscription.unsubscribe()
