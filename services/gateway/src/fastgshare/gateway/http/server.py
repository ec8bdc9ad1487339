"""Serves an application over HTTP inside the caller's event loop, and lets go of it cleanly.

uvicorn with httptools, without its signal handlers, its lifespan and its main loop: the caller's task group decides
when to stop. Requests in flight are finished within a grace, the rest are told that the gateway is stopping.
"""

import socket

import anyio
import anyio.abc
import uvicorn
from starlette.types import ASGIApp

from fastgshare.gateway.http.connection import Connection
from fastgshare.shared.errors import FastGShareError

BACKLOG = 1024
KEEP_ALIVE_S = 75
GRACE_S = 5.0
_LAST_WORDS_S = 1.0
_POLL_S = 0.01


class HttpUnavailable(FastGShareError):
    """The HTTP port cannot be opened: fields `host`, `port`, `reason`."""


async def serve_http(
    app: ASGIApp,
    host: str,
    port: int,
    *,
    stop: anyio.Event | None = None,
    grace_s: float = GRACE_S,
    task_status: anyio.abc.TaskStatus[int] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `stop` is set or this is cancelled; both drain. Reports the bound port (0 picks a free one).

    Raises:
        HttpUnavailable: the port cannot be opened.
    """
    listener = _bind(host, port)
    try:
        server = _server(app)
        await server.startup(sockets=[listener])
        try:
            task_status.started(listener.getsockname()[1])
            await _run(server, stop or anyio.Event())
        finally:
            with anyio.CancelScope(shield=True):
                await _drain(server, grace_s)
    finally:
        listener.close()


def _bind(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise HttpUnavailable(host=host, port=port, reason=reason) from error
    return listener


def _server(app: ASGIApp) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        loop="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    return server


async def _run(server: uvicorn.Server, stop: anyio.Event) -> None:
    while not stop.is_set():
        await server.on_tick(0)  # renews the Date header
        with anyio.move_on_after(1):
            await stop.wait()


async def _drain(server: uvicorn.Server, grace_s: float) -> None:
    state = server.server_state
    for listener in server.servers:
        listener.close()
    for connection in list(state.connections):
        connection.shutdown()
    with anyio.move_on_after(grace_s):
        await _empty(server)
    for task in list(state.tasks):
        task.cancel()
    with anyio.move_on_after(_LAST_WORDS_S):
        await _empty(server)
    for connection in list(state.connections):
        connection.transport.abort()
    with anyio.move_on_after(_LAST_WORDS_S):
        await _empty(server)


async def _empty(server: uvicorn.Server) -> None:
    while server.server_state.connections or server.server_state.tasks:
        await anyio.sleep(_POLL_S)
