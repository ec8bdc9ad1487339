"""A child process for a parent's plain threads: what `child` is for an event loop, with a limit on every wait.

Its life is its parent's to end, its input is empty, what it prints is logged line by line as far as the rate allows,
and it sits in a session of its own, so that it goes with everything it started. The kernel ends it with the *thread*
that made it: make it on one that lives as long as the child should.
"""

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Generic

from fastgshare.node_manager.ipc.child import GULP_S, KILL_S, LAST_WORDS_S, ending
from fastgshare.node_manager.ipc.frames import Dialect, FrameSplitter, In, Out
from fastgshare.node_manager.ipc.lines import LineLimiter
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.errors import FastGShareError
from fastgshare.shared.units import s_to_us, us_to_ms

READ_BYTES = 256 << 10
FATAL = "Fatal Python error"

logger = logging.getLogger(__name__)


class ChildEnded(FastGShareError):
    """The child is gone, or closed its channel: field `how`, in words."""


class ChildSilent(FastGShareError):
    """The child said nothing within its limit: field `limit_s`."""


class BlockingChild(Generic[Out, In]):
    """Made by `start_child`. Used by one thread at a time."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", sock: socket.socket, dialect: Dialect[Out, In], name: str
    ) -> None:
        self.pid = process.pid
        self._process = process
        self._socket = sock
        self._dialect = dialect
        self._splitter = FrameSplitter(dialect.max_frame_bytes)
        self._pidfd = os.pidfd_open(process.pid)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._poll.register(self._pidfd, select.POLLIN)
        assert process.stdout is not None
        self._output = _Output(process.stdout, name)
        self._how = ""

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return not self._how and not _readable(self._pidfd, 0)

    def send(self, message: Out) -> None:
        """Send a message, which the child reads at once or the socket has room for.

        Raises:
            ChildEnded: there is nobody to read it.
            FrameTooLarge: the message does not fit a frame; nothing was sent.
        """
        if self._how:
            raise ChildEnded(how=self._how)
        frame = self._dialect.frame(message)
        try:
            self._socket.sendall(frame)
        except OSError:
            raise ChildEnded(how=self.end(LAST_WORDS_S)) from None

    def receive(self, limit_s: float) -> In:
        """The answer to what was sent last. A child answers once: what else it says before the next is dropped.

        Raises:
            ChildEnded: there is none, and will be none.
            ChildSilent: none came within the limit; the child still runs.
            PayloadInvalid, FrameTooLarge: what came is no message.
        """
        give_up_us = monotonic_us() + s_to_us(limit_s)
        while True:
            left_ms = max(us_to_ms(give_up_us - monotonic_us()), 0)
            has_ended = any(fd == self._pidfd for fd, _ in self._poll.poll(left_ms))
            piece = self._read()
            frames = self._splitter.feed(bytearray(piece or b""))
            if frames:
                return self._dialect.message(frames[0])
            if piece == b"" or (piece is None and has_ended):
                raise ChildEnded(how=self.end(LAST_WORDS_S))
            if left_ms == 0:
                raise ChildSilent(limit_s=limit_s)

    def wait(self, limit_s: float) -> bool:
        """Wait for the process to end by itself; whether it did."""
        return bool(self._how) or _readable(self._pidfd, limit_s)

    def end(self, patience_s: float = 0.0) -> str:
        """Kill the process, unless it ends within `patience_s`, and all it started; how it ended. Idempotent."""
        if not self._how:
            self.wait(patience_s)
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)  # before it is waited for: later the number may be another's
            with suppress(subprocess.TimeoutExpired):  # it sits in the kernel: its parent must go on
                self._process.wait(KILL_S)
            self._output.finish()
            self._socket.close()
            os.close(self._pidfd)
            self._how = self._ending()
        return self._how

    def _read(self) -> bytes | None:
        """What the child said by now: empty after its end, None when there is nothing yet."""
        try:
            return self._socket.recv(READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            return b""

    def _ending(self) -> str:
        if self._process.returncode is None:
            return "it cannot be killed"
        how = ending(self._process.returncode)
        return f"{how}; its last words: {self._output.last_words}" if self._output.last_words else how


def start_child(
    module: str,
    dialect: Dialect[Out, In],
    name: str,
    *,
    args: Sequence[str] = (),
    env: Mapping[str, str],
    pass_fds: Sequence[int] = (),
) -> BlockingChild[Out, In]:
    """Run `python -m module --fd N --parent PID *args`, which begins with `blocking.inherited_socket`.

    `env` is the whole environment; `name` is what its lines are logged under. Raises OSError: no process can be made.
    """
    ours, theirs = socket.socketpair()
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, "--fd", str(theirs.fileno()), "--parent", str(os.getpid()), *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            pass_fds=(theirs.fileno(), *pass_fds),
            start_new_session=True,
            env=dict(env),
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return BlockingChild(process, ours, dialect, name)


class _Output:
    """Logs what a child prints, on a thread of its own, and remembers its last words."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self.last_words = ""
        self._stream = stream
        self._name = name
        self._lines = LineLimiter()
        self._thread = threading.Thread(target=self._read, name=f"output-{name}", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait for the last words of a child that has ended; not for what a runaway of it still holds open."""
        self._thread.join(LAST_WORDS_S)

    def _read(self) -> None:
        with self._stream as stream:
            while piece := stream.read(READ_BYTES):
                self._log(self._lines.feed(piece, monotonic_us()))
                if self._lines.is_flooded:
                    time.sleep(GULP_S)  # a child that floods waits for us, and not everybody else
        self._log(self._lines.finish())

    def _log(self, lines: list[str]) -> None:
        for line in lines:
            logger.info("%s: %s", self._name, line)
            if line.strip() and not self.last_words.startswith(FATAL):  # what follows that is where it stood
                self.last_words = line.strip()


def _readable(fd: int, limit_s: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(us_to_ms(s_to_us(max(limit_s, 0)))))
