"""The tokens of one chunk against an oracle that remembers everything and works it all out anew each time."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.core.tokens import TokenBook
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.units import PER_MILLE
from tests.node_manager.core.oracle import (
    Began,
    Deed,
    Ended,
    Left,
    Started,
    Took,
    Withdrew,
    choose,
    standings,
)

WINDOW_US = 1000
shares = st.builds(
    lambda request, more: Share(1, request, min(request + more, PER_MILLE)),
    st.integers(1, 700),
    st.sampled_from((0, 1, 100, 300, 1000)),
)
steps = st.tuples(
    st.integers(0, 4),
    st.sampled_from(("work", "work", "work", "poll", "share", "rest", "leave")),
    st.integers(0, 400),
    st.booleans(),
    shares,
)


@dataclass
class Pair:
    """The book and the oracle, told the same."""

    book: TokenBook = field(default_factory=lambda: TokenBook(1, WINDOW_US))
    deeds: list[Deed] = field(default_factory=list)
    waiting: list[ReplicaId] = field(default_factory=list)
    token: Started | None = None

    def granted(self, got: list[ReplicaId], now_us: int) -> None:
        """The book granted this: the oracle has to grant the same."""
        expected: list[ReplicaId] = []
        chosen = choose(standings(self.deeds, WINDOW_US), self.waiting, now_us) if self.token is None else None
        if chosen is not None:
            replica, by_debt = chosen
            self.token = Started(now_us, replica, by_debt)
            self.deeds.append(self.token)
            self.waiting.remove(replica)
            expected.append(replica)
            assert self.book.is_paid_by_debt(replica) == by_debt
        assert got == expected

    def share(self, replica: ReplicaId, share: Share, now_us: int) -> None:
        """Take on or resize."""
        self.deeds.append(Took(now_us, replica, share))
        self.granted(self.book.set_share(replica, share, now_us), now_us)

    def leave(self, replica: ReplicaId, now_us: int) -> None:
        """Gone, with its token."""
        self.deeds.append(Left(now_us, replica))
        self.waiting = [other for other in self.waiting if other != replica]
        if self.token is not None and self.token.replica == replica:
            self.token = None
        self.granted(self.book.remove(replica, now_us), now_us)

    def work(self, replica: ReplicaId, now_us: int, has_more: bool) -> None:
        """Ask, or end the batch that runs."""
        if self.token is not None and self.token.replica == replica:
            used_us = now_us - self.token.now_us
            self.deeds.append(Ended(now_us, replica, self.token, used_us, has_more))
            self.token = None
            if has_more:
                self.waiting.append(replica)
            self.granted(self.book.end(replica, used_us, now_us, 10 if has_more else None), now_us)
        elif replica not in self.waiting:
            self.deeds.append(Began(now_us, replica))
            self.waiting.append(replica)
            self.granted(self.book.ask(replica, 10, now_us), now_us)

    def rest(self, replica: ReplicaId, now_us: int) -> None:
        """No work after all."""
        if replica in self.waiting:
            self.deeds.append(Withdrew(now_us, replica))
            self.waiting.remove(replica)
            self.granted(self.book.give_up(replica, now_us), now_us)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.lists(steps, max_size=60))
def test_the_book_grants_what_the_oracle_grants(script: list[tuple[int, str, int, bool, Share]]) -> None:
    pair, now_us = Pair(), 0
    for number, what, later_us, has_more, share in script:
        replica = ReplicaId(f"r{number}")
        now_us += later_us
        if what == "poll":
            pair.granted(pair.book.poll(now_us), now_us)
        elif what == "share" or replica not in pair.book.shares():
            pair.share(replica, share, now_us)
        elif what == "leave":
            pair.leave(replica, now_us)
        elif what == "rest":
            pair.rest(replica, now_us)
        else:
            pair.work(replica, now_us, has_more)
        assert set(pair.book.waiting()) == set(pair.waiting)
        assert list(pair.book.running()) == ([pair.token.replica] if pair.token else [])
