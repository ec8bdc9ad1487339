"""A gateway's HTTP door with a console that looks at a staged platform."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
from anyio.from_thread import start_blocking_portal
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from fastgshare.gateway.console import ConsoleRoutes
from fastgshare.gateway.http import HttpSettings, build_app, serve_http
from fastgshare.gateway.oip import encode_error
from fastgshare.gateway.ports import FunctionView
from tests.gateway.console.staged import Staged
from tests.gateway.http.serving import FakeFunctions, FakeInvoker

FORBIDDEN_KEY = "of-somebody-else"


def locked(app: ASGIApp, key: str) -> ASGIApp:
    """`app` behind a gate that wants a key, as the gateway's does, for all but the page's own files."""
    bearer = (b"authorization", b"Bearer " + key.encode())
    others = (b"authorization", b"Bearer " + FORBIDDEN_KEY.encode())

    async def gate(scope: Scope, receive: Receive, send: Send) -> None:
        is_file = scope["path"] == "/console/" or scope["path"].startswith("/console/static/")
        if not key or is_file or bearer in scope["headers"]:
            await app(scope, receive, send)
        else:
            words, status = ("this key may not", 403) if others in scope["headers"] else ("show an API key", 401)
            refusal = Response(encode_error(words), status, media_type="application/json")
            await refusal(scope, receive, send)

    return gate


@asynccontextmanager
async def serving_console(
    staged: Staged | None = None,
    functions: FakeFunctions | None = None,
    *,
    port: int = 0,
    key: str = "",
    max_viewers: int = 8,
    interval_ms: int = 200,
) -> AsyncIterator[tuple[int, ConsoleRoutes]]:
    """The port, and the console behind it."""
    staged = staged or Staged()
    functions = functions or FakeFunctions()
    specs = [staged.spec(name) for name in staged.names()]
    views = [FunctionView(spec=spec) for spec in specs if spec is not None]
    functions.specs.update({view.spec.name: view.spec for view in views})
    stop = anyio.Event()
    console = ConsoleRoutes(staged, stop, max_viewers, interval_ms)
    app = locked(build_app(FakeInvoker(*views), functions, HttpSettings(), console.routes()), key)
    async with anyio.create_task_group() as tasks:

        async def serve(*, task_status: anyio.abc.TaskStatus[int] = anyio.TASK_STATUS_IGNORED) -> None:
            await serve_http(app, "127.0.0.1", port, stop=stop, grace_s=2.0, task_status=task_status)

        bound: int = await tasks.start(serve)
        try:
            yield bound, console
        finally:
            stop.set()


@contextmanager
def console_in_background(
    staged: Staged, functions: FakeFunctions | None = None, *, port: int = 0, key: str = ""
) -> Iterator[str]:
    """The same for tests that block: on a thread of its own; the page's address."""
    serving = serving_console(staged, functions, port=port, key=key)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serving) as (bound, _):
        yield f"http://127.0.0.1:{bound}/console/"
