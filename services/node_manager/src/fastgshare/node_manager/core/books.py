"""A device's books: what each function had of it, in SM time, memory and work done. Pure; times in microseconds.

What a worker tells of is added up until it is taken as the entries of a usage record, so that nothing is lost while
records cannot be written, and once more as totals since this node started, for metrics.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from fastgshare.node_manager.core.spending import Spent
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import FunctionUsage, ReplicaState, ReplicaStatus
from fastgshare.shared.units import us_to_s

NOTHING = FunctionUsage()
_HOLDING = (ReplicaState.READY, ReplicaState.DRAINING)


class DeviceBooks:
    """Books of one device, begun at `now_us` (Unix)."""

    def __init__(self, now_us: int) -> None:
        self.totals: dict[FunctionName, FunctionUsage] = {}
        self._open: dict[FunctionName, FunctionUsage] = {}
        self._from_us = now_us
        self._held_to_us = now_us

    def spent(self, spent: Mapping[FunctionName, Spent], sms: int, chunks: int) -> None:
        """A worker's word on the time since its last one; its device's `chunks` are `sms` SMs."""
        if not chunks:
            return
        for function, own in spent.items():
            usage = FunctionUsage(
                sm_us=own.chunk_us * sms // chunks,
                promised_sm_us=own.promised_us * sms // chunks,
                profiling_sm_us=own.loan_us * sms // chunks,
                requests=own.requests,
                batches=own.batches,
            )
            self._add(function, usage)

    def held(self, statuses: Collection[ReplicaStatus], now_us: int) -> None:
        """These replicas have held their memory since the last call."""
        elapsed_s = us_to_s(max(now_us - self._held_to_us, 0))
        self._held_to_us = max(now_us, self._held_to_us)
        for function, memory_mib in memory_by_function(statuses).items():
            self._add(function, FunctionUsage(memory_mib_s=memory_mib * elapsed_s))

    def away(self, now_us: int) -> None:
        """No worker holds anything now."""
        self._held_to_us = max(now_us, self._held_to_us)

    def take(self, now_us: int) -> tuple[int, dict[FunctionName, FunctionUsage]]:
        """Since when, and what functions had since then; empty when none had anything."""
        from_us, taken = self._from_us, self._open
        self._from_us, self._open = now_us, {}
        return from_us, taken

    def _add(self, function: FunctionName, usage: FunctionUsage) -> None:
        for book in (self.totals, self._open):
            book[function] = book.get(function, NOTHING).plus(usage)


def memory_by_function(statuses: Iterable[ReplicaStatus]) -> dict[FunctionName, float]:
    """MiB that replicas hold now; weights that several share are split among them."""
    holding = [status for status in statuses if status.state in _HOLDING and not status.loan]
    sharers = Counter(status.model_digest for status in holding)
    memory_mib: dict[FunctionName, float] = {}
    for status in holding:
        own_mib = status.memory_mib + status.weights_mib / sharers[status.model_digest]
        memory_mib[status.function] = memory_mib.get(status.function, 0.0) + own_mib
    return memory_mib
