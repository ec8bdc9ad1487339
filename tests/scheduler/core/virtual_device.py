"""Requests on one device in virtual time: the node manager's own token book, and batches of what has arrived.

The slow, obvious oracle for what `core/queueing.py` predicts: every request is followed from its arrival to its answer.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.core.tokens import TokenBook
from fastgshare.shared.ids import ReplicaId

DeviceTime = Callable[[int], int]
"""Microseconds of a batch of that many."""


@dataclass
class Tenant:
    """A replica: its share, what its batches take, their limit, and when requests come (None: always one more)."""

    share: Share
    device_us: DeviceTime
    limit: int
    arrivals_us: Iterable[int] | None
    waiting: deque[int] = field(default_factory=deque)
    running: list[int] = field(default_factory=list)
    latencies_us: list[int] = field(default_factory=list)
    used_us: int = 0

    @property
    def pace_us(self) -> float:
        """What a request takes here, others waiting."""
        return self.device_us(self.limit) * 1000 / self.share.request_permille / self.limit

    def next_batch(self) -> int:
        """How many requests the next batch takes."""
        return self.limit if self.arrivals_us is None else min(len(self.waiting), self.limit)


def play(tenants: Sequence[Tenant], chunks: int, window_us: int, end_us: int, shared_us: Iterable[int] = ()) -> None:
    """Serve until `end_us`; latencies are with the tenants then.

    What arrives at `shared_us` goes to the tenant that should be done with it first, as a gateway would have it.
    """
    _Course(TokenBook(chunks, window_us), {ReplicaId(f"r{n}"): tenant for n, tenant in enumerate(tenants)}).run(
        end_us, shared_us
    )


_END, _ARRIVAL = range(2)


@dataclass
class _Course:
    book: TokenBook
    tenants: dict[ReplicaId, Tenant]
    now_us: int = 0
    agenda: list[tuple[int, int, int, ReplicaId]] = field(default_factory=list)
    order: "count[int]" = field(default_factory=count)

    def run(self, end_us: int, shared_us: Iterable[int]) -> None:
        for name, tenant in self.tenants.items():
            self.book.set_share(name, tenant.share, 0)
            for at_us in (0,) if tenant.arrivals_us is None else tenant.arrivals_us:
                self.expect(at_us, _ARRIVAL, name)
        for at_us in shared_us:
            self.expect(at_us, _ARRIVAL, ReplicaId(""))
        while (next_us := self.next_us()) is not None and next_us <= end_us:
            self.now_us = next_us
            while self.agenda and self.agenda[0][0] == next_us:
                _, kind, _, name = heappop(self.agenda)
                if kind == _END:
                    self.finish(name)
                else:
                    self.arrive(name or self.quickest())
            self.start(self.book.poll(next_us))

    def expect(self, at_us: int, kind: int, name: ReplicaId) -> None:
        heappush(self.agenda, (at_us, kind, next(self.order), name))

    def next_us(self) -> int | None:
        wake_us = self.book.wake_at_us(self.now_us)
        due_us = self.agenda[0][0] if self.agenda else None
        return min((at_us for at_us in (wake_us, due_us) if at_us is not None), default=None)

    def quickest(self) -> ReplicaId:
        def done_us(name: ReplicaId) -> float:
            tenant = self.tenants[name]
            return (len(tenant.waiting) + len(tenant.running) + 1) * tenant.pace_us

        return min(self.tenants, key=done_us)

    def start(self, granted: Iterable[ReplicaId]) -> None:
        for name in granted:
            tenant = self.tenants[name]
            size = tenant.next_batch()
            tenant.running = [] if tenant.arrivals_us is None else [tenant.waiting.popleft() for _ in range(size)]
            tenant.used_us = tenant.device_us(size)
            self.expect(self.now_us + tenant.used_us, _END, name)

    def arrive(self, name: ReplicaId) -> None:
        tenant = self.tenants[name]
        tenant.waiting.append(self.now_us)
        if not self.book.is_waiting(name) and name not in self.book.running():
            self.start(self.book.ask(name, tenant.device_us(tenant.next_batch()), self.now_us))

    def finish(self, name: ReplicaId) -> None:
        tenant = self.tenants[name]
        tenant.latencies_us += [self.now_us - arrived_us for arrived_us in tenant.running]
        tenant.running = []
        has_more = tenant.arrivals_us is None or bool(tenant.waiting)
        again_us = tenant.device_us(tenant.next_batch()) if has_more else None
        self.start(self.book.end(name, tenant.used_us, self.now_us, again_us))
