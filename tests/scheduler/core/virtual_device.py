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

    def next_batch(self) -> int:
        """How many requests the next batch takes."""
        return self.limit if self.arrivals_us is None else min(len(self.waiting), self.limit)


def play(tenants: Sequence[Tenant], chunks: int, window_us: int, end_us: int) -> None:
    """Serve until `end_us`; latencies are with the tenants then."""
    book = TokenBook(chunks, window_us)
    names = {ReplicaId(f"r{number}"): tenant for number, tenant in enumerate(tenants)}
    order = count()
    agenda: list[tuple[int, int, int, ReplicaId]] = []
    for name, tenant in names.items():
        book.set_share(name, tenant.share, 0)
        if tenant.arrivals_us is not None:
            for at_us in tenant.arrivals_us:
                heappush(agenda, (at_us, 1, next(order), name))
        else:
            heappush(agenda, (0, 1, next(order), name))

    def start(granted: Iterable[ReplicaId], now_us: int) -> None:
        for name in granted:
            tenant = names[name]
            size = tenant.next_batch()
            took_us = tenant.device_us(size)
            tenant.running = [] if tenant.arrivals_us is None else [tenant.waiting.popleft() for _ in range(size)]
            tenant.used_us = took_us
            heappush(agenda, (now_us + took_us, 0, next(order), name))

    now_us = 0
    while True:
        wake_us = book.wake_at_us(now_us)
        next_us = agenda[0][0] if agenda else None
        soon_us = min((at for at in (wake_us, next_us) if at is not None), default=None)
        if soon_us is None or soon_us > end_us:
            return
        now_us = soon_us
        while agenda and agenda[0][0] == now_us:
            _, kind, _, name = heappop(agenda)
            tenant = names[name]
            if kind == 0:
                tenant.latencies_us += [now_us - arrived_us for arrived_us in tenant.running]
                has_more = tenant.arrivals_us is None or bool(tenant.waiting)
                again_us = tenant.device_us(tenant.next_batch()) if has_more else None
                start(book.end(name, tenant.used_us, now_us, again_us), now_us)
                continue
            tenant.waiting.append(now_us)
            if not book.is_waiting(name) and name not in book.running():
                start(book.ask(name, tenant.device_us(tenant.next_batch()), now_us), now_us)
        start(book.poll(now_us), now_us)
