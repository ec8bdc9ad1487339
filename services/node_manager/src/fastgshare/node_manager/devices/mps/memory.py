"""What the processes of a device may take: each its own weights, its replica's budget, and a context.

Nothing is shared between processes: a mapping of one's device memory in another would let kernels that nobody trusts
read it, or write to it, and keeping them apart is what processes are for. (Legacy CUDA IPC shares whole allocations
writable, and its exporter must outlive all importers.) What is shared is the host's copy: the model's file in the page
cache, which a runtime that maps it (torch's weights) uses as it is.
"""

import itertools
import threading
from dataclasses import dataclass

from fastgshare.node_manager.core.memory import MemoryLedger, Refusal
from fastgshare.node_manager.devices.faults import MemoryRefused
from fastgshare.node_manager.devices.ports import Lane
from fastgshare.shared.ids import Digest, ReplicaId


@dataclass(frozen=True, slots=True)
class Claim:
    """One process's promised memory; a replica has two while it moves."""

    process: ReplicaId
    context: ReplicaId
    context_mib: int
    memory_mib: int


class ProcessMemory:
    """The promises of a device with `total_mib`; `context_mib` is what a process takes before it has a model."""

    def __init__(self, total_mib: int, context_mib: int) -> None:
        self.context_mib = context_mib
        self._ledger = MemoryLedger(total_mib)
        self._lock = threading.Lock()
        self._numbers = itertools.count()

    def claim(self, lane: Lane, weights_mib: float) -> Claim:
        """Promise one more process of a replica its memory. Raises MemoryRefused with the numbers."""
        number = next(self._numbers)
        process, context = ReplicaId(f"{lane.replica}#{number}"), ReplicaId(f"{lane.replica}#{number}:context")
        with self._lock:
            context_mib = self.context_mib
            # A digest of its own for each: what two processes load is there twice.
            refusal = self._ledger.reserve(process, Digest(process), weights_mib, lane.memory_mib)
            if refusal is None:
                refusal = self._ledger.reserve(context, Digest(context), context_mib, context_mib)
                if refusal is not None:
                    self._ledger.release(process)
                    reason = f"beside its {lane.memory_mib} MiB it needs a process, and for that {refusal.reason}"
                    refusal = Refusal(reason, lane.memory_mib + context_mib <= self._ledger.total_mib)
        if refusal is not None:
            raise MemoryRefused(reason=refusal.reason, passes=refusal.passes)
        return Claim(process, context, context_mib, lane.memory_mib)

    def release(self, claim: Claim) -> None:
        """The process is gone. Idempotent."""
        with self._lock:
            self._ledger.release(claim.process)
            self._ledger.release(claim.context)

    def learn_context(self, measured_mib: float) -> None:
        """What a context really takes: the next claims are for that much."""
        with self._lock:
            self.context_mib = max(round(measured_mib), 1)
