"""`fastgshare deploy`."""

from pathlib import Path
from typing import Annotated

import typer

from fastgshare.cli.running import Url, read_checked, reported, say, with_client
from fastgshare.client.connection import DEPLOY_TIMEOUT_S, Client
from fastgshare.client.rollout import wanted_replicas


def deploy(
    file: Annotated[Path, typer.Argument(help="The function's YAML.")],
    wait: Annotated[bool, typer.Option(help="Wait until it serves, or fails.")] = True,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait at most.")] = DEPLOY_TIMEOUT_S,
    url: Url = None,
) -> None:
    """Deploy a function, or its next version; the old one serves until the new one is ready."""

    async def act(client: Client) -> None:
        spec = await client.deploy(file, wait=wait, timeout_s=timeout, say=say)
        state = f"{wanted_replicas(spec)} ready" if wait else "stored"
        print(f"{spec.name} generation {spec.generation}: {state}")

    with reported():
        read_checked(file)  # told before a platform is looked for
        with_client(url, act)
