"""One handler's process from the worker's side: its start, the making of its class, and how it ended, in words."""

import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import anyio

from fastgshare.node_manager.handler_host.messages import WORKER_END, FromHost, Load, Loaded, LoadFailed, ToHost
from fastgshare.node_manager.ipc.child import Child, ending, open_child
from fastgshare.node_manager.ipc.environment import one_thread, passed_on
from fastgshare.node_manager.ipc.frames import ChannelClosed

HOST_MODULE = "fastgshare.node_manager.handler_host"
STACK_DUMP_S = 1.0

HostChild = Child[ToHost, FromHost]


def open_host(on_log: Callable[[str], None]) -> AbstractAsyncContextManager[HostChild]:
    """A fresh process that waits for what to load."""
    return open_child(HOST_MODULE, WORKER_END, on_log, env=passed_on() | one_thread())


async def make_handler(host: HostChild, load: Load, limit_s: float) -> Loaded | str:
    """Have a fresh process make its class; what it declares, or what went wrong."""
    with anyio.move_on_after(limit_s):
        try:
            await host.channel.send(load)
            reply = await host.channel.receive()
        except ChannelClosed:
            reply = None
        match reply:
            case Loaded():
                return reply
            case LoadFailed(reason):
                return reason
            case _:
                return f"its process ended while loading it: {await end_of(host)}"
    host.send_signal(signal.SIGABRT)  # prints where it is stuck
    await end_of(host)
    return f"loading it took more than {limit_s:g} s"


async def end_of(host: HostChild) -> str:
    """How a process that closed its channel, or was told to end, came to its end."""
    with anyio.move_on_after(STACK_DUMP_S):
        return ending(await host.wait())
    return "it stopped answering"
