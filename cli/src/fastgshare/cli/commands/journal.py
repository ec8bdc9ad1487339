"""`fastgshare journal`: what the scheduler decided and why, from the files it keeps.

The scheduler's own reader runs as a process: only it knows what its core's messages mean.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from fastgshare.cli.running import EXIT_FAILED, EXIT_INTERRUPTED, complain
from fastgshare.cli.up.config import JOURNAL
from fastgshare.client.location import data_directory

READER = (sys.executable, "-m", "fastgshare.scheduler.replay")


def journal(
    place: Annotated[
        Path | None,
        typer.Argument(help="A journal's directory, or one of its files; default: of the platform on this machine."),
    ] = None,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="Print so many decisions.")] = 50,
    replay: Annotated[bool, typer.Option("--replay", help="Decide everything again and tell what differs.")] = False,
) -> None:
    """What the scheduler decided, when and why."""
    where = place or data_directory(os.environ) / JOURNAL
    if not where.exists():
        complain(f"no journal at {where}")
        raise typer.Exit(EXIT_FAILED)
    options = () if replay else ("--show", str(last))
    try:
        ended = subprocess.run((*READER, str(where), *options), check=False)
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    raise typer.Exit(ended.returncode)
