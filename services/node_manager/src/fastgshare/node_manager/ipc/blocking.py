"""A plain synchronous process's end of a channel, and how a child comes by it."""

import argparse
import socket
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Generic

from fastgshare.node_manager.ipc.frames import ChannelClosed, Dialect, FrameSplitter, In, Out
from fastgshare.shared.children import die_with_parent

READ_BYTES = 256 << 10


class BlockingChannel(Generic[Out, In]):
    """For one thread. Byte fields of what it receives are the receiver's to write to."""

    def __init__(self, sock: socket.socket, dialect: Dialect[Out, In]) -> None:
        self._socket = sock
        self._dialect = dialect
        self._splitter = FrameSplitter(dialect.max_frame_bytes)
        self._frames: deque[memoryview] = deque()
        self._ended = False

    def send(self, message: Out) -> None:
        """Send a message, waiting as long as it takes.

        Raises:
            ChannelClosed: the other process is gone.
            FrameTooLarge: the message does not fit a frame; nothing was sent.
        """
        frame = self._dialect.frame(message)
        try:
            self._socket.sendall(frame)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ChannelClosed(sending=type(message).__name__) from error

    def receive(self) -> In | None:
        """The next message, waiting for it; None once the other process is gone and all it said was received.

        Raises:
            PayloadInvalid: a message not of this dialect.
            FrameTooLarge: the stream is lost.
        """
        while not self._frames and not self._ended:
            self._read()
        return self._dialect.message(self._frames.popleft()) if self._frames else None

    def receive_arrived(self) -> list[In]:
        """Every message that is here by now, without waiting. Raises as `receive` does."""
        with suppress(BlockingIOError):
            while not self._ended:
                self._read(socket.MSG_DONTWAIT)
        messages = [self._dialect.message(frame) for frame in self._frames]
        self._frames.clear()
        return messages

    def _read(self, flags: int = 0) -> None:
        try:
            piece = self._socket.recv(READ_BYTES, flags)
        except ConnectionResetError:
            piece = b""
        self._ended = not piece
        self._frames.extend(self._splitter.feed(bytearray(piece)))


def inherited_socket(argv: Sequence[str]) -> tuple[socket.socket, list[str]]:
    """A child's end of its channel, and the arguments meant for itself; the first thing a child calls.

    From here on the process dies with its parent. (The child asks for that itself, because code between
    fork and exec is not safe in a parent with threads; one that lost its parent before this point ends
    here.)
    """
    parser = argparse.ArgumentParser(description="Started by its parent process, with an end of a socket pair.")
    parser.add_argument("--fd", type=int, required=True, help="the inherited socket")
    parser.add_argument("--parent", type=int, required=True, help="the parent's process id")
    options, own = parser.parse_known_args(argv)
    die_with_parent(options.parent)
    sock = socket.socket(fileno=options.fd)
    sock.set_inheritable(False)
    return sock, own
