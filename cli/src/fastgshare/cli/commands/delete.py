"""`fastgshare delete`."""

from typing import Annotated

import typer

from fastgshare.cli.running import Url, with_client
from fastgshare.client.connection import Client


def delete(function: Annotated[str, typer.Argument(help="Its name.")], url: Url = None) -> None:
    """Remove a function; its replicas finish what they have."""

    async def act(client: Client) -> None:
        await client.delete(function)
        print(f"{function} deleted")

    with_client(url, act)
