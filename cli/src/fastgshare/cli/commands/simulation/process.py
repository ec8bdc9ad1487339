"""Runs the simulator as a process of its own and reads what it tells.

It has a session of its own, so that Ctrl-C reaches only us, and ends with us.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial

from fastgshare.cli.running import Usage
from fastgshare.shared.children import die_with_parent
from fastgshare.shared.errors import FastGShareError, InvalidSpec
from fastgshare.shared.simulated import Refused, Told, told_by

MODULE = "fastgshare.simulator"
MISSING = "the simulator is not installed: pip install 'fastgshare-cli[simulate]'"
EXIT_USAGE = 2
EXIT_UNMET = 3


class SimulationFailed(FastGShareError):
    """The simulator ended without an answer: field `reason`."""

    def __str__(self) -> str:
        return f"the simulator failed: {self.fields['reason']}"


def told(arguments: Sequence[str]) -> Iterator[Told]:
    """What the simulator tells, line by line, until it ends.

    Raises:
        Usage: it is not installed.
        InvalidSpec: what it was asked for makes no sense.
        SimulationFailed: it broke down.
    """
    if importlib.util.find_spec(MODULE) is None:
        raise Usage(problem=MISSING)
    with subprocess.Popen(
        [sys.executable, "-m", MODULE, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509
    ) as process:
        try:
            yield from _lines(process)
        except BaseException:
            process.kill()
            raise


def _lines(process: subprocess.Popen[bytes]) -> Iterator[Told]:
    refused: Refused | None = None
    for line in process.stdout or ():
        for one in told_by(line):
            if isinstance(one, Refused):
                refused = one
            else:
                yield one
    status = process.wait()
    if refused is not None and status == EXIT_USAGE:
        raise InvalidSpec(list(refused.problems))
    if refused is not None:
        raise SimulationFailed(reason="; ".join(refused.problems))
    if status not in (0, EXIT_UNMET):
        raise SimulationFailed(reason=f"it ended with status {status}")
