"""A gateway's HTTP door with a console that looks at a staged platform."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
from anyio.from_thread import start_blocking_portal

from fastgshare.gateway.console import ConsoleRoutes
from fastgshare.gateway.http import HttpSettings, build_app, serve_http
from fastgshare.gateway.ports import Doorkeeper, FunctionView
from tests.gateway.console.staged import Staged
from tests.gateway.http.serving import FakeFunctions, FakeInvoker


@asynccontextmanager
async def serving_console(
    staged: Staged | None = None,
    functions: FakeFunctions | None = None,
    *,
    port: int = 0,
    doorkeeper: Doorkeeper | None = None,
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
    console = ConsoleRoutes(staged, stop, doorkeeper, max_viewers, interval_ms)
    app = build_app(FakeInvoker(*views), functions, HttpSettings(), console.routes())
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
    staged: Staged, functions: FakeFunctions | None = None, *, port: int = 0, doorkeeper: Doorkeeper | None = None
) -> Iterator[str]:
    """The same for tests that block: on a thread of its own; the page's address."""
    serving = serving_console(staged, functions, port=port, doorkeeper=doorkeeper)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serving) as (bound, _):
        yield f"http://127.0.0.1:{bound}/console/"
