"""Replica threads wait here for their token; the decisions are `core.tokens`.

Whoever waits sleeps until it is granted one, or until time alone may have brought it: nothing ticks while nobody waits.
"""

import threading
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from fastgshare.node_manager.core.accounts import Use
from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.core.tokens import TokenBook
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.units import us_to_s

HUNG_TIMES = 20


@dataclass(slots=True)
class _Seat:
    """Where one replica's thread waits. `event`: there is something to look at, a token perhaps.

    `wants_us`: it asked while another thread ran a batch of the same replica, and what it expects its own to take.
    `is_ahead`: it stepped forward for the turn it waits for or has, and goes back to the background after it.
    """

    event: threading.Event = field(default_factory=threading.Event)
    is_granted: bool = False
    wants_us: int | None = None
    is_ahead: bool = False


class Released(NamedTuple):
    """Whether who gave its token back has the next one already, and whether others may start."""

    again: bool
    others: bool


class TokenGate:
    """Tokens of one device, for the threads of its worker."""

    def __init__(self, chunks: int, window_us: int) -> None:
        self.chunks = chunks
        self._book = TokenBook(chunks, window_us)
        self._lock = threading.Lock()
        self._seats: dict[ReplicaId, _Seat] = {}
        self._sharing: dict[ReplicaId, bool] = {}
        self._plans = 0

    # Replicas

    def set_share(self, replica: ReplicaId, share: Share) -> None:
        """Take a replica on, or change what it holds from its next token on."""
        with self._lock:
            self._seats.setdefault(replica, _Seat()).is_ahead = False
            self._carry_out(self._book.set_share(replica, share, monotonic_us()))
            self._note_sharing()

    def step_forward(self, replica: ReplicaId) -> None:
        """Have a background replica take its turns among the others, with next to nothing promised: it is to end."""
        with self._lock:
            if replica in self._seats:
                self._seats[replica].is_ahead = False  # for good
                self._step_forward(replica, monotonic_us())

    def remove(self, replica: ReplicaId) -> None:
        """Forget a replica; its thread asks no more."""
        with self._lock:
            self._carry_out(self._book.remove(replica, monotonic_us()))
            self._seats.pop(replica, None)
            self._note_sharing()

    def is_shared(self, replica: ReplicaId) -> bool:
        """Whether others hold some of its chunks too, that run while it has work: not in the background."""
        return self._sharing.get(replica, False)

    def others_us(self, replica: ReplicaId) -> int:
        """For how long others had a background replica's chunks so far, or kept it waiting for them.

        Never less than before; 0 for one that is gone. Of regular replicas it is not counted.
        """
        with self._lock:
            return self._book.others_us(replica, monotonic_us()) if replica in self._seats else 0

    def take_use(self) -> dict[ReplicaId, Use]:
        """What each replica had since the last call."""
        with self._lock:
            return self._book.take_use(monotonic_us())

    def running(self) -> tuple[ReplicaId, ...]:
        """Who holds a token now."""
        with self._lock:
            return tuple(self._book.running())

    def hung(self, limit_us: int) -> ReplicaId | None:
        """Who holds a token for longer than that, and than many times what it expected: nobody can take it away."""
        with self._lock:
            now_us = monotonic_us()
            for replica in self._book.running():
                if self._book.held_us(replica, now_us) > max(limit_us, HUNG_TIMES * self._book.expected_us(replica)):
                    return replica
        return None

    # Batches

    def acquire(self, replica: ReplicaId, expected_us: int, patience_us: int | None = None) -> None:
        """Wait for a token for a batch that should take `expected_us`.

        A background replica that has waited for `patience_us` steps forward until it gives this token back.
        """
        with self._lock:
            if replica in self._book.running():
                self._seats[replica].wants_us = expected_us
            else:
                self._carry_out(self._book.ask(replica, expected_us, monotonic_us()))
        self.wait(replica, patience_us)

    def wait(self, replica: ReplicaId, patience_us: int | None = None) -> None:
        """Wait for the token that was asked for."""
        seat = self._seats[replica]
        ahead_us = monotonic_us() + patience_us if patience_us is not None else None
        while True:
            with self._lock:
                if self._takes_grant(seat):
                    return
                seat.event.clear()
                now_us = monotonic_us()
                if ahead_us is not None and now_us >= ahead_us and self._step_forward(replica, now_us):
                    seat.is_ahead = True
                self._carry_out(self._book.poll(now_us))  # its time may have come since anybody looked
                if self._takes_grant(seat):
                    return
                again_us = self._book.look_again_us(replica, now_us)
                if ahead_us is not None and now_us < ahead_us:
                    again_us = ahead_us if again_us is None else min(again_us, ahead_us)
            seat.event.wait(us_to_s(again_us - now_us) if again_us is not None else None)

    def try_acquire(self, replica: ReplicaId, expected_us: int) -> bool:
        """The token if it is to be had this moment; never waits. Nobody that is gone gets one."""
        with self._lock:
            return replica in self._seats and self._book.ask_now(replica, expected_us, monotonic_us())

    def release(self, replica: ReplicaId, used_us: int, again_us: int | None = None) -> Released:
        """The batch took `used_us` of device time; returns who may start now.

        With `again_us` the next token, for a batch that should take so long, is asked for: `wait` for it.
        """
        with self._lock:
            seat = self._seats.get(replica)
            sleeper_us = None
            if seat is not None:
                sleeper_us, seat.wants_us = seat.wants_us, None
            wanted_us = again_us if again_us is not None else sleeper_us
            granted = self._book.end(replica, used_us, monotonic_us(), wanted_us)
            is_own = granted == [replica] and sleeper_us is None
            if is_own and seat is not None:
                seat.is_granted = True  # it is awake
            else:
                self._carry_out(granted)
            if seat is not None and seat.is_ahead:
                self._step_back(replica, seat)
        return Released(replica in granted, bool(granted) and not is_own)

    def give_up(self, replica: ReplicaId) -> None:
        """Want no token after all; one that was granted already is let go."""
        with self._lock:
            seat, now_us = self._seats[replica], monotonic_us()
            seat.wants_us = None
            if self._takes_grant(seat):
                self._carry_out(self._book.end(replica, 0, now_us))
            else:
                self._carry_out(self._book.give_up(replica, now_us))

    def _step_forward(self, replica: ReplicaId, now_us: int) -> bool:
        """Whether it was in the background, and no longer is."""
        share = self._book.share_of(replica)
        if not share.is_background:
            return False
        own = replace(share, request_permille=1)
        self._carry_out(self._book.set_share(replica, own, now_us))
        self._note_sharing()
        return True

    def _step_back(self, replica: ReplicaId, seat: _Seat) -> None:
        seat.is_ahead = False
        own = replace(self._book.share_of(replica), request_permille=0)
        self._carry_out(self._book.set_share(replica, own, monotonic_us()))
        self._note_sharing()

    @staticmethod
    def _takes_grant(seat: _Seat) -> bool:
        was_granted, seat.is_granted = seat.is_granted, False
        return was_granted

    def _carry_out(self, granted: list[ReplicaId]) -> None:
        """Wake who may start; everybody, where what they sleep until may have changed."""
        for replica in granted:
            seat = self._seats[replica]
            seat.is_granted = True
            seat.event.set()
        if self._plans != self._book.plans:
            self._plans = self._book.plans
            for seat in self._seats.values():
                seat.event.set()

    def _note_sharing(self) -> None:
        shares = self._book.shares()
        regular = {replica: share for replica, share in shares.items() if not share.is_background}
        self._sharing = {
            replica: any(share.mask & other.mask for name, other in regular.items() if name != replica)
            for replica, share in shares.items()
        }
