"""Replica threads wait here for their token; the decisions are `core.tokens`."""

import threading

from fastgshare.node_manager.core.tokens import TokenBook
from fastgshare.shared.ids import ReplicaId


class TokenGate:
    """Tokens of one device, for the threads of its worker."""

    def __init__(self) -> None:
        self._book = TokenBook()
        self._lock = threading.Lock()
        self._granted: dict[ReplicaId, threading.Event] = {}

    def acquire(self, replica: ReplicaId, mask: int) -> None:
        """Wait for the token; a batch is short, and whoever holds one always lets go."""
        with self._lock:
            granted = self._book.ask(replica, mask)
            if replica in granted:
                return  # nobody else can become grantable by somebody asking
            event = self._granted[replica] = threading.Event()
        event.wait()

    def try_acquire(self, holder: ReplicaId, mask: int) -> bool:
        """The token if it is free this moment; never waits."""
        with self._lock:
            return self._book.ask_now(holder, mask)

    def release(self, replica: ReplicaId) -> None:
        """The batch is done."""
        with self._lock:
            for other in self._book.end(replica):
                self._granted.pop(other).set()
