"""`fastgshare logs`."""

from datetime import datetime
from typing import Annotated

import typer

from fastgshare.cli.running import Url, with_client
from fastgshare.client.connection import Client
from fastgshare.shared.messages import Event
from fastgshare.shared.registry import FunctionUnknown
from fastgshare.shared.units import us_to_s


def logs(
    function: Annotated[str, typer.Argument(help="Its name.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is to come.")] = False,
    url: Url = None,
) -> None:
    """What happened to a function: deployments, replicas, failures, and what its handlers print."""

    async def act(client: Client) -> None:
        is_known = False
        async for event in client.logs(function, follow=follow):
            is_known = True
            print(line(event), flush=True)
        if not is_known and function not in {spec.name for spec in await client.functions()}:
            raise FunctionUnknown(function=function)

    with_client(url, act)


def line(event: Event) -> str:
    """An event in local time, for reading."""
    at = datetime.fromtimestamp(us_to_s(event.at_us)).astimezone()
    fields = " ".join(f"{name}={value}" for name, value in event.fields.items())
    told = "  ".join(part for part in (event.text, fields) if part)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}  {event.kind}  {told}".rstrip()
