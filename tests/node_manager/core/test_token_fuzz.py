"""Whatever is asked of a token book in whatever order: no overlap, no grant without asking, and everybody gets on."""

import random
from dataclasses import dataclass, field

import pytest

from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.core.tokens import TokenBook
from fastgshare.shared.ids import ReplicaId

REPLICAS = [ReplicaId(name) for name in "abcdefgh"]
OPERATIONS = 120
PATIENCE = 200_000
LENT = 0.25


@dataclass
class Fuzz:
    """A book, and what it should hold: who waits, and who runs on which chunks."""

    seed: int
    now_us: int = 0
    waiting: set[ReplicaId] = field(default_factory=set)
    running: dict[ReplicaId, int] = field(default_factory=dict)
    known: set[ReplicaId] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.window_us = self.rng.choice([1_000, 10_000, 100_000])
        self.chunks = self.rng.choice([1, 4, 8])
        self.loans = random.Random(self.seed)
        self.book = TokenBook(self.chunks, self.window_us)

    def share(self) -> Share:
        first = self.rng.randrange(self.chunks)
        last = self.rng.randrange(first, self.chunks)
        mask = sum(1 << chunk for chunk in range(first, last + 1))
        if self.rng.random() < 0.2:
            mask = self.rng.randrange(1, 1 << self.chunks)  # scattered
        request = self.rng.choice([1, 50, 300, 500, 999, 1000])
        limit = self.rng.choice([request, 1000, max(request, 600)])
        return Share(mask, 0 if self.loans.random() < LENT else request, limit)

    def some_us(self) -> int:
        window_us = self.window_us
        return self.rng.choice([0, 1, window_us // 30, window_us // 10, window_us, 20 * window_us])

    def take(self, granted: list[ReplicaId]) -> None:
        for replica in granted:
            assert replica in self.waiting, "granted without asking"
            self.waiting.remove(replica)
            self.running[replica] = self.book.running()[replica]
        for replica in granted:
            self.check_nobody_was_before(replica)
        assert self.book.running() == self.running
        taken = 0
        for mask in self.running.values():
            assert not taken & mask, "overlap"
            taken |= mask
        assert set(self.book.waiting()) == self.waiting

    def check_nobody_was_before(self, replica: ReplicaId) -> None:
        """In the background it starts only where nobody else is at work."""
        shares = self.book.shares()
        if shares[replica].is_background:
            for other in self.waiting | self.running.keys():
                assert shares[other].is_background or not shares[other].mask & self.running[replica]

    def step(self) -> list[ReplicaId]:
        replica, kind = self.rng.choice(REPLICAS), self.rng.random()
        if kind < 0.2 or replica not in self.known:
            self.known.add(replica)
            return self.book.set_share(replica, self.share(), self.now_us)
        if kind < 0.25:
            self.known.discard(replica)
            self.waiting.discard(replica)
            self.running.pop(replica, None)
            return self.book.remove(replica, self.now_us)
        if kind < 0.45:
            if replica not in self.running:
                self.waiting.add(replica)
            return self.book.ask(replica, self.some_us(), self.now_us)
        if kind < 0.55:
            if self.book.ask_now(replica, self.some_us(), self.now_us):
                assert replica not in self.waiting
                assert replica not in self.running
                self.running[replica] = self.book.running()[replica]
                self.check_nobody_was_before(replica)
            return []
        if kind < 0.85:
            return self.end(replica, self.some_us(), self.some_us() if self.rng.random() < 0.6 else None)
        if kind < 0.9:
            self.waiting.discard(replica)
            return self.book.give_up(replica, self.now_us)
        return []

    def end(self, replica: ReplicaId, used_us: int, again_us: int | None = None) -> list[ReplicaId]:
        if self.running.pop(replica, None) is not None and again_us is not None:
            self.waiting.add(replica)
        return self.book.end(replica, used_us, self.now_us, again_us)

    def play(self) -> None:
        for _ in range(OPERATIONS):
            self.now_us += self.rng.choice([0, 0, 1, self.window_us // 50, self.window_us // 7, 13 * self.window_us])
            self.take(self.step())
            self.take(self.book.poll(self.now_us))

    def finish(self) -> None:
        """Nobody asks any more: whoever waits gets a token, within its debts."""
        for _ in range(PATIENCE):
            for replica in list(self.running):
                self.take(self.end(replica, 1))
            if not self.waiting:
                return
            wake_us = self.book.wake_at_us(self.now_us)
            assert wake_us is not None or self.running, "nothing would ever happen again"
            self.now_us = max(self.now_us, wake_us or self.now_us)
            self.take(self.book.poll(self.now_us))
        raise AssertionError(f"{self.waiting} wait in vain")


@pytest.mark.parametrize("seeds", [range(start, start + 25) for start in range(0, 200, 25)], ids=str)
def test_any_order_of_operations_leaves_nobody_overlapping_unasked_or_stuck(seeds: range) -> None:
    for seed in seeds:
        fuzz = Fuzz(seed)
        fuzz.play()
        fuzz.finish()
