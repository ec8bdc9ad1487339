"""`fastgshare top`."""

from typing import Annotated

import anyio
import msgspec
import typer
from rich.console import Console

from fastgshare.cli.running import Url, explain, with_client
from fastgshare.client.connection import Client
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import FastGShareError
from fastgshare.shared.overview.fold import Overview
from fastgshare.shared.overview.view import PlatformView
from fastgshare.shared.watching import follow_platform

PIPE_COLUMNS = 160


def top(
    once: Annotated[bool, typer.Option("--once", help="Print what is seen and end.")] = False,
    watch_s: Annotated[
        float, typer.Option("--watch", min=0, max=3600, help="Seconds to look before --once and --json print.")
    ] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="As --once, everything as JSON.")] = False,
    url: Url = None,
) -> None:
    """Devices, functions and decisions, live: who holds what, who runs, which objectives are kept, and why."""

    seen: PlatformView | None = None

    async def act(client: Client) -> None:
        nonlocal seen
        overview = Overview()
        async with anyio.create_task_group() as tasks:
            await tasks.start(follow_platform, client.bus, overview)
            if once or as_json:
                await anyio.sleep(watch_s)
                seen = overview.view(unix_us())
            else:
                await _show(client, overview)
            tasks.cancel_scope.cancel()
        if seen is not None:
            _print(seen, client.url, as_json)

    with_client(url, act)


def _print(view: PlatformView, url: str, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode(view).decode())
        return
    from fastgshare.cli.top.marks import Marks
    from fastgshare.cli.top.printed import show

    console = Console()
    if not console.is_terminal:
        console.width = PIPE_COLUMNS  # nobody's window: a pipe gets whole lines
    marks = Marks()
    marks.meet(function.function for function in view.functions)
    show(console, view, marks, url)


async def _show(client: Client, overview: Overview) -> None:
    from fastgshare.cli.top.app import Top  # textual takes a third of a second to import

    async def scale(function: str, count: int) -> tuple[bool, str]:
        try:
            await client.scale(function, count, wait=False)
        except FastGShareError as error:
            return False, explain(error)
        return True, f"{function}: {count} replica{'' if count == 1 else 's'} wanted from now on"

    app = Top(client.url, lambda: overview.view(unix_us()), lambda: client.bus.is_connected, scale)
    await app.run_async()
