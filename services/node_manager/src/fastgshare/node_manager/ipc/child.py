"""A child process at the other end of a channel: its life is its parent's to end, its output its parent's to log.

It dies with its parent and takes along what it started; it sits in a session of its own, so that Ctrl-C in
a terminal reaches the parent alone; its input is empty, and what it prints comes out line by line, as far as
the rate allows: a child that floods loses lines, and never waits for long.
"""

import asyncio
import fcntl
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Generic, cast

import anyio

from fastgshare.node_manager.ipc.channel import Channel, open_channel
from fastgshare.node_manager.ipc.frames import Dialect, In, Out
from fastgshare.node_manager.ipc.lines import LineLimiter
from fastgshare.shared.clock import monotonic_us

KILL_S = 5.0
LAST_WORDS_S = 1.0
GULP_S = 0.005
PIPE_BYTES = 256 << 10


class Child(Generic[Out, In]):
    """Made by `open_child`."""

    def __init__(self, channel: Channel[Out, In], transport: asyncio.SubprocessTransport, watch: "_Watch") -> None:
        self.channel = channel
        self.pid = transport.get_pid()
        self._transport = transport
        self._watch = watch

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while the process runs."""
        return self._transport.get_returncode()

    async def wait(self) -> int:
        """Wait for the process to end; its exit status, negative for a signal."""
        await self._watch.exited.wait()
        returncode = self.returncode
        assert returncode is not None
        return returncode

    def send_signal(self, sig: signal.Signals) -> None:
        """Signal the process itself, unless it has ended."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                self._transport.send_signal(sig)

    def kill(self) -> None:
        """End the process and whatever it started."""
        if self.returncode is None:
            _kill_group(self.pid)

    async def aclose(self) -> None:
        """Kill, and wait until the process is gone and its last words are logged."""
        self.kill()
        with anyio.move_on_after(KILL_S, shield=True):
            await self._watch.exited.wait()
        with anyio.move_on_after(LAST_WORDS_S, shield=True):
            await self._watch.output.silent.wait()
        self._transport.close()


@asynccontextmanager
async def open_child(
    module: str,
    dialect: Dialect[Out, In],
    on_log: Callable[[str], None],
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Child[Out, In]]:
    """Run `python -m module --fd N --parent PID *args`; the module begins with `blocking.inherited_socket`.

    `env` is the whole environment (default: this process's). Leaving the context kills the child: who wants a
    gentle end asks for it over the channel and waits. Open it on the thread that lives as long as the child
    should, because the kernel watches that thread's end.
    """
    async with _open_output(on_log) as output:
        ours, theirs = socket.socketpair()
        try:
            transport, watch = await asyncio.get_running_loop().subprocess_exec(
                lambda: _Watch(output),
                sys.executable,
                *("-P", "-m", module, "--fd", str(theirs.fileno()), "--parent", str(os.getpid()), *args),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output.writing_fd,
                stderr=output.writing_fd,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env=None if env is None else dict(env),
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            output.leave_to_child()
        async with open_channel(ours, dialect) as channel:
            child = Child(channel, transport, watch)
            try:
                yield child
            finally:
                await child.aclose()


def ending(returncode: int) -> str:
    """How a process ended, in words: `exit status 3`, `SIGKILL`."""
    if returncode >= 0:
        return f"exit status {returncode}"
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


class _Watch(asyncio.SubprocessProtocol):
    """The event loop's view of a child's life."""

    def __init__(self, output: "_Output") -> None:
        self.exited = anyio.Event()
        self.output = output
        self._pid: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._pid = cast("asyncio.SubprocessTransport", transport).get_pid()  # uvloop's is no subclass

    def process_exited(self) -> None:
        if self._pid is not None:
            _kill_group(self._pid)  # at once: later the number may be another's
        self.exited.set()


class _Output(asyncio.Protocol):
    """The reading end of a child's output.

    A pipe of our own, because it packs short lines where the socket pair that uvloop would make runs full of a few
    hundred. A child that floods is read in gulps: a read a line would keep this loop from everybody else's work.
    """

    def __init__(self, on_log: Callable[[str], None], writing_fd: int) -> None:
        self.silent = anyio.Event()
        self.writing_fd = writing_fd
        self._on_log = on_log
        self._lines = LineLimiter()
        self._transport: asyncio.ReadTransport | None = None

    def leave_to_child(self) -> None:
        """Close the writing end here: the child's are the only ones left."""
        os.close(self.writing_fd)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.ReadTransport", transport)

    def data_received(self, data: bytes) -> None:
        for line in self._lines.feed(data, monotonic_us()):
            self._on_log(line)
        if self._lines.is_flooded and self._transport is not None:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(GULP_S, self._read_on)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for line in self._lines.finish():
            self._on_log(line)
        self.silent.set()

    def _read_on(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()


@asynccontextmanager
async def _open_output(on_log: Callable[[str], None]) -> AsyncIterator[_Output]:
    reading_fd, writing_fd = os.pipe()
    with suppress(OSError):  # a user's pipes may have reached their limit: then the usual size it is
        fcntl.fcntl(writing_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    loop = asyncio.get_running_loop()
    try:
        reading = os.fdopen(reading_fd, "rb", 0)
        transport, output = await loop.connect_read_pipe(lambda: _Output(on_log, writing_fd), reading)
    except BaseException:
        os.close(writing_fd)
        raise
    try:
        yield output
    finally:
        transport.close()
        with anyio.CancelScope(shield=True):
            await output.silent.wait()
