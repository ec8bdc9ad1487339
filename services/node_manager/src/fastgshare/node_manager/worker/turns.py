"""A token as one replica's thread has it: asked for, held, given back, and what of the core's time went with it.

What is called from other threads says so.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.worker.gate import TokenGate
from fastgshare.shared.clock import monotonic_us, thread_us
from fastgshare.shared.ids import ReplicaId


class Turns:
    """Between a replica's thread and the gate."""

    def __init__(self, replica: ReplicaId, gate: TokenGate) -> None:
        self._replica = replica
        self._gate = gate
        self._asked_us: int | None = None
        self._has_token = False
        self._held_from_us = 0
        self._spent_us = 0  # of processor time, when the last token went back
        self._outside_us = 0
        self._is_stepping_forward = False

    # From any thread

    def share(self, share: Share) -> None:
        """Its turns are of this share from now on."""
        self._gate.set_share(self._replica, share)
        if self._is_stepping_forward:  # whoever comes second, this or `step_forward`, sees the other
            self._gate.step_forward(self._replica)

    def step_forward(self) -> None:
        """Its turns come before those of who has work."""
        self._is_stepping_forward = True
        self._gate.step_forward(self._replica)

    # From the replica's thread

    def begin(self) -> None:
        """What the thread did up to here is no way to a turn."""
        self._spent_us = thread_us()

    def wait(self, expected_us: Callable[[], int]) -> int:
        """Wait for the token; how long that took, in microseconds. `expected_us` is asked unless it is under way."""
        if self._asked_us is None:
            self._has_token = False
            self._asked_us = monotonic_us()
            self._gate.acquire(self._replica, expected_us())
        else:
            self._gate.wait(self._replica)
        now_us = monotonic_us()
        token_us = now_us - self._asked_us
        if not self._has_token:
            self._held_from_us = now_us
            self._outside_us = max(thread_us() - self._spent_us, 0)
        self._asked_us = None
        return token_us

    def on_core_us(self) -> int:
        """How long the core was this thread's: while it held the token, and what it spent on the way to it."""
        return monotonic_us() - self._held_from_us + self._outside_us

    def pass_on(self, used_us: int, again_us: int | None) -> None:
        """Give the token back, and ask for the next one for so long; None: there is no more to do."""
        self._asked_us = None if again_us is None else monotonic_us()
        self._spent_us, self._outside_us = thread_us(), 0
        released = self._gate.release(self._replica, used_us, again_us)
        self._has_token = released.again
        if released.again and self._asked_us is not None:
            self._held_from_us = self._asked_us
        if released.others:
            time.sleep(0)  # lets go of the interpreter: the device idles until the other thread has it

    def withdraw(self) -> None:
        """No token is asked for any more."""
        if self._asked_us is not None:
            self._asked_us = None
            self._has_token = False
            self._gate.give_up(self._replica)

    @contextmanager
    def one(self, expected_us: int, patience_us: int) -> Iterator[None]:
        """A token around what computes on the replica's chunks outside of a batch."""
        self._gate.acquire(self._replica, expected_us, patience_us)
        began_us = monotonic_us()
        try:
            yield
        finally:
            self._gate.release(self._replica, monotonic_us() - began_us)
