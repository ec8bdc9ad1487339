"""Replica threads wait here for their token; the decisions are `core.tokens`.

Whoever waits sleeps until it is granted one, or until time alone may have brought it: nothing ticks while nobody waits.
"""

import threading

from fastgshare.node_manager.core.accounts import Use
from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.core.tokens import TokenBook
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.units import us_to_s


class TokenGate:
    """Tokens of one device, for the threads of its worker."""

    def __init__(self, chunks: int, window_us: int) -> None:
        self._book = TokenBook(chunks, window_us)
        self._lock = threading.Lock()
        self._granted: dict[ReplicaId, threading.Event] = {}
        self._sharing: dict[ReplicaId, bool] = {}

    # Replicas

    def set_share(self, replica: ReplicaId, share: Share) -> None:
        """Take a replica on, or change what it holds from its next token on."""
        with self._lock:
            self._granted.setdefault(replica, threading.Event())
            self._wake(self._book.set_share(replica, share, monotonic_us()))
            self._note_sharing()

    def remove(self, replica: ReplicaId) -> None:
        """Forget a replica; its thread asks no more."""
        with self._lock:
            self._wake(self._book.remove(replica, monotonic_us()))
            self._granted.pop(replica, None)
            self._note_sharing()

    def is_shared(self, replica: ReplicaId) -> bool:
        """Whether others hold some of its chunks too."""
        return self._sharing.get(replica, False)

    def take_use(self) -> dict[ReplicaId, Use]:
        """What each replica had since the last call."""
        with self._lock:
            return self._book.take_use(monotonic_us())

    # Batches

    def acquire(self, replica: ReplicaId, expected_us: int) -> None:
        """Wait for a token for a batch that should take `expected_us`."""
        with self._lock:
            self._wake(self._book.ask(replica, expected_us, monotonic_us()))
        self.wait(replica)

    def wait(self, replica: ReplicaId) -> None:
        """Wait for the token that was asked for."""
        granted = self._granted[replica]
        while not granted.is_set():
            with self._lock:
                now_us = monotonic_us()
                self._wake(self._book.poll(now_us))  # its time may have come since anybody looked
                again_us = self._book.look_again_us(replica, now_us)
            granted.wait(us_to_s(again_us - now_us) if again_us is not None else None)
        granted.clear()

    def try_acquire(self, replica: ReplicaId, expected_us: int) -> bool:
        """The token if it is to be had this moment; never waits. Nobody that is gone gets one."""
        with self._lock:
            return replica in self._granted and self._book.ask_now(replica, expected_us, monotonic_us())

    def release(self, replica: ReplicaId, used_us: int, again_us: int | None = None) -> bool:
        """The batch took `used_us` of device time; returns whether somebody else may start now.

        With `again_us` the next token, for a batch that should take so long, is asked for: `wait` for it.
        """
        with self._lock:
            granted = self._book.end(replica, used_us, monotonic_us(), again_us)
            self._wake(granted)
        return any(other != replica for other in granted)

    def give_up(self, replica: ReplicaId) -> None:
        """Want no token after all; one that was granted already is let go."""
        with self._lock:
            now_us = monotonic_us()
            self._wake(self._book.give_up(replica, now_us))
            self._wake(self._book.end(replica, 0, now_us))
            self._granted[replica].clear()

    def _wake(self, replicas: list[ReplicaId]) -> None:
        for replica in replicas:
            self._granted[replica].set()

    def _note_sharing(self) -> None:
        shares = self._book.shares()
        self._sharing = {
            replica: any(share.mask & other.mask for name, other in shares.items() if name != replica)
            for replica, share in shares.items()
        }
