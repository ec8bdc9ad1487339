"""`fastgshare journal`: what the scheduler decided and why, from the files it keeps.

The scheduler's own reader runs as a process, in a session of its own so that Ctrl-C reaches only us: only it knows what
its core's messages mean. Exit status as its: 0, read (decided the same again); 1, something was decided otherwise;
2, there is no journal or something of it cannot be read.
"""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fastgshare.cli.running import EXIT_INTERRUPTED
from fastgshare.cli.up.config import JOURNAL
from fastgshare.client.location import data_directory
from fastgshare.shared.children import die_with_parent

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
    options = () if replay else ("--show", str(last))
    try:
        status = _read((*READER, str(where), *options))
    except KeyboardInterrupt:
        status = EXIT_INTERRUPTED
    raise typer.Exit(status)


def _read(command: tuple[str, ...]) -> int:
    """Run the reader to its end, or to ours; its exit status."""
    with subprocess.Popen(
        command,
        start_new_session=True,
        preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509
    ) as reader:
        try:
            return reader.wait()
        except BaseException:
            reader.kill()
            reader.wait()
            raise
