"""`fastgshare update`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from fastgshare.cli.running import Url, Usage, read_checked, reported, say, with_client
from fastgshare.client.connection import DEPLOY_TIMEOUT_S, Client
from fastgshare.client.rollout import wanted_replicas
from fastgshare.shared.messages import FunctionSpec
from fastgshare.shared.registry import FunctionUnknown


def update(
    function: Annotated[str, typer.Argument(help="Its name.")],
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Everything anew, from this YAML.")] = None,
    slo_ms: Annotated[float | None, typer.Option(help="The objective in milliseconds.")] = None,
    slo_percentile: Annotated[float | None, typer.Option(help="The percentile that it holds for.")] = None,
    max_batch: Annotated[int | None, typer.Option(help="The largest batch.")] = None,
    quota_request: Annotated[float | None, typer.Option(help="The share of time it is promised, in place.")] = None,
    quota_limit: Annotated[
        float | None, typer.Option(help="The share of time it gets at most, not below that, in place.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until it serves, or fails.")] = True,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait at most.")] = DEPLOY_TIMEOUT_S,
    url: Url = None,
) -> None:
    """Change a deployed function; quotas change in place, else the old generation serves until the new one is ready."""
    options = {
        "slo_ms": slo_ms,
        "slo_percentile": slo_percentile,
        "max_batch": max_batch,
        "quota_request": quota_request,
        "quota_limit": quota_limit,
    }
    changes: dict[str, Any] = {name: value for name, value in options.items() if value is not None}

    async def act(client: Client) -> None:
        if file is None:
            spec = await client.update(function, **changes, wait=wait, timeout_s=timeout, say=say)
        else:
            spec = await _replace(client, function, file, wait, timeout)
        state = f"{wanted_replicas(spec)} ready" if wait else "stored"
        print(f"{spec.name} generation {spec.generation}: {state}")

    with reported():
        _check(function, file, changes)
        with_client(url, act)


def _check(function: str, file: Path | None, changes: dict[str, Any]) -> None:
    if (file is None) == (not changes):
        raise Usage(problem="give either -f FILE or what to change, such as --slo-ms 100")
    if file is not None and (found := read_checked(file).name) != function:
        raise Usage(problem=f"{file} defines '{found}', not '{function}'")


async def _replace(client: Client, function: str, file: Path, wait: bool, timeout_s: float) -> FunctionSpec:
    if function not in {known.name for known in await client.functions()}:
        raise FunctionUnknown(function=function)
    return await client.deploy(file, wait=wait, timeout_s=timeout_s, say=say)
