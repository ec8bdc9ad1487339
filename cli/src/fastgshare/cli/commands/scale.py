"""`fastgshare scale`."""

from typing import Annotated

import typer

from fastgshare.cli.running import Url, say, with_client
from fastgshare.client.connection import DEPLOY_TIMEOUT_S, Client


def scale(
    function: Annotated[str, typer.Argument(help="Its name.")],
    replicas: Annotated[int, typer.Argument(min=0, help="How many from now on.")],
    wait: Annotated[bool, typer.Option(help="Wait until that many are ready.")] = True,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait at most.")] = DEPLOY_TIMEOUT_S,
    url: Url = None,
) -> None:
    """Hold a fixed number of replicas of a function; ends its automatic scaling."""

    async def act(client: Client) -> None:
        spec = await client.scale(function, replicas, wait=wait, timeout_s=timeout, say=say)
        print(f"{spec.name} generation {spec.generation}: {replicas} {'ready' if wait else 'wanted'}")

    with_client(url, act)
