"""One life of a child process: made, signalled, awaited.

It has a session of its own, so that Ctrl-C in a terminal reaches only us. It dies with the thread that made
it, so that should be the main one. What it leaves in its process group goes with it.
"""

import os
import signal
import subprocess
from contextlib import suppress
from functools import partial

import anyio
import msgspec

from fastgshare.shared.children import die_with_parent


class ChildSpec(msgspec.Struct, frozen=True):
    """What to run: `name` is unique here, `service` is whom it answers pings as (empty: it does not)."""

    name: str
    argv: tuple[str, ...]
    service: str = ""
    env: dict[str, str] = {}


class Process:
    """Made by `spawn`."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self.condemned = False

    @property
    def pid(self) -> int:
        """Its process id; stays after the end."""
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        """Whether nobody has seen it end yet."""
        return self._popen.returncode is None

    def send(self, sig: signal.Signals) -> None:
        """Signal it, unless it is gone. After SIGKILL it is `condemned`: whatever it said is void."""
        self.condemned = self.condemned or sig is signal.SIGKILL
        if self.is_running:
            os.kill(self.pid, sig)  # unreaped, so the number is still its own

    async def ended(self) -> int:
        """Wait for the end; the exit status, negative for a signal."""
        while self._popen.returncode is None:
            # A descriptor per waiter: the event loop watches each for one task only.
            descriptor = os.pidfd_open(self.pid)
            try:
                await anyio.wait_readable(descriptor)
            finally:
                os.close(descriptor)
            self._reap()
        return self._popen.returncode

    def _reap(self) -> None:
        if self._popen.returncode is not None:
            return
        with suppress(ProcessLookupError, PermissionError):
            # While the child is unreaped, its group's number cannot be another's.
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()


def spawn(spec: ChildSpec, log: int) -> Process:
    """Start a process that writes to the descriptor `log` and reads nothing. Raises OSError."""
    return Process(
        subprocess.Popen(
            spec.argv,
            env={**os.environ, **spec.env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            # Nothing else takes it down with a parent that gets SIGKILL.
            preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509
        )
    )


def describe_ending(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
