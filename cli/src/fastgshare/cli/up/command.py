"""`fastgshare up`: the platform in the foreground, until Ctrl-C.

The first SIGINT, SIGTERM or SIGHUP stops everything in order; the second kills what is left.
"""

import logging
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import anyio
import typer
from anyio.abc import TaskStatus

from fastgshare.cli.up.config import UpConfig
from fastgshare.cli.up.platform import Platform, lone_exceptions, open_platform
from fastgshare.client.location import DATA_DIR_VARIABLE, data_directory
from fastgshare.shared.errors import FastGShareError
from fastgshare.shared.ids import NodeId, is_name

EXIT_FAULT = 1
DEVICES = ("auto", "cpu", "sim", "cuda", "mps")
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def up(
    nats: Annotated[str | None, typer.Option(help="Use this NATS server instead of starting one.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help=f"State and logs; default ${DATA_DIR_VARIABLE}, else in the XDG data home.")
    ] = None,
    http_port: Annotated[int, typer.Option(help="Of the first gateway; when taken, a free one.")] = 8080,
    grpc_port: Annotated[
        int | None, typer.Option(help="Of the first gateway; default the one after HTTP's, 8081; -1: no gRPC.")
    ] = None,
    nats_port: Annotated[int, typer.Option(help="Of the server started here; when taken, a free one.")] = 4222,
    gateways: Annotated[int, typer.Option(min=1, help="How many gateways.")] = 1,
    schedulers: Annotated[int, typer.Option(min=1, help="How many schedulers; one leads.")] = 1,
    node_name: Annotated[str | None, typer.Option(help="This machine's name on the bus.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, sim (an emulated GPU), cuda or mps.")] = "auto",
    cores: Annotated[int | None, typer.Option(min=1, help="CPU cores to offer.")] = None,
) -> None:
    """Run the whole platform here until Ctrl-C: NATS, gateway, scheduler, profiler and node manager."""
    if device not in DEVICES:
        raise typer.BadParameter(f"'{device}' is none of {', '.join(DEVICES)}", param_hint="--device")
    if node_name is not None and not is_name(node_name):
        raise typer.BadParameter(f"'{node_name}' is no name ([a-z0-9][a-z0-9_-]*)", param_hint="--node-name")
    config = UpConfig(
        data_dir=data_dir or data_directory(os.environ),
        nats_url=nats,
        nats_port=nats_port,
        http_port=http_port,
        grpc_port=grpc_port,
        gateways=gateways,
        schedulers=schedulers,
        node_name=None if node_name is None else NodeId(node_name),
        device=device,
        cores=cores,
    )
    raise typer.Exit(run(config))


def run(config: UpConfig) -> int:
    """The platform until a signal; the process's exit status."""
    # Of our own connection's troubles the report of the server's death says enough.
    logging.basicConfig(level=logging.ERROR)
    try:
        anyio.run(_until_asked_to_stop, config)
    except (FastGShareError, OSError) as error:
        print(f"fastgshare up: {error}", file=sys.stderr, flush=True)
        return EXIT_FAULT
    return 0


async def _until_asked_to_stop(config: UpConfig) -> None:
    serving, hurry = anyio.CancelScope(), anyio.Event()
    with lone_exceptions():
        async with anyio.create_task_group() as tasks:
            await tasks.start(_obey_signals, serving, hurry)
            with serving:
                async with open_platform(config, _report, hurry) as platform:
                    _announce(platform)
                    await anyio.sleep_forever()
            _report("stopped; nothing was left running")
            tasks.cancel_scope.cancel()


async def _obey_signals(serving: anyio.CancelScope, hurry: anyio.Event, *, task_status: TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(*STOP_SIGNALS) as signals:
        task_status.started()
        async for _ in signals:
            if serving.cancel_called:
                hurry.set()
            else:
                _report("stopping; once more to kill")
                serving.cancel()


def _report(line: str) -> None:
    print(f"fastgshare up: {line}", file=sys.stderr, flush=True)


def _way_here(data_dir: Path, env: Mapping[str, str]) -> str:
    """What to type where other commands would look for the platform elsewhere."""
    here = data_dir.absolute()
    if data_directory(env).absolute() == here:
        return ""
    return f"so that other commands find it:  export {DATA_DIR_VARIABLE}={shlex.quote(str(here))}\n"


def _announce(platform: Platform) -> None:
    endpoints, data_dir = platform.endpoints, platform.config.data_dir
    grpc = "  ".join(endpoints.grpc_addresses) or "off"
    processes = ", ".join(f"{name} {pid}" for name, pid in platform.pids().items())
    print(
        f"ready\n"
        f"  NATS       {endpoints.nats_url}\n"
        f"  HTTP       {'  '.join(endpoints.http_urls)}  (Open Inference Protocol v2)\n"
        f"  gRPC       {grpc}\n"
        f"  console    {endpoints.http_url}/console/\n"
        f"  data       {data_dir}\n"
        f"  logs       {data_dir / 'logs'}\n"
        f"  processes  up {endpoints.pid}, {processes}\n"
        f"{_way_here(data_dir, os.environ)}"
        f"Ctrl-C stops everything; what is deployed stays for the next time.",
        flush=True,
    )
