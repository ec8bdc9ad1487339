"""A device's memory, budgeted before anything is loaded: weights once per model, and what each replica has of its own.

A replica may use `memory_mib`, its model's weights included, so the part of it beyond the weights is reserved for the
replica alone. What does not fit is refused with the numbers.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from fastgshare.shared.ids import Digest, ReplicaId


class Refusal(NamedTuple):
    """Why a replica gets no memory, in words with the numbers; `passes`: others hold it, and may leave."""

    reason: str
    passes: bool


@dataclass(slots=True)
class _Reservation:
    digest: Digest
    own_mib: float


@dataclass(slots=True)
class MemoryLedger:
    """What is promised of a device with `total_mib`."""

    total_mib: float
    weights_mib: dict[Digest, float] = field(default_factory=dict)
    replicas: dict[ReplicaId, _Reservation] = field(default_factory=dict)

    @property
    def promised_mib(self) -> float:
        """All weights and everybody's own part."""
        return sum(self.weights_mib.values()) + sum(held.own_mib for held in self.replicas.values())

    def reserve(self, replica: ReplicaId, digest: Digest, weights_mib: float, memory_mib: float) -> Refusal | None:
        """Promise a replica its memory; None, or why it does not fit.

        What a replica still holds is nobody else's, not even another life's of the same name.
        """
        if (held := self.replicas.get(replica)) is not None:
            return Refusal(f"its last session is not closed and holds {held.own_mib:.0f} MiB beside its weights", True)
        if weights_mib > memory_mib:
            reason = f"its model has {weights_mib:.0f} MiB of weights, its slice's gpu_mem_mib is {memory_mib:.0f}"
            return Refusal(reason, False)
        own_mib = memory_mib - weights_mib
        needed_mib = own_mib + (0.0 if digest in self.weights_mib else weights_mib)
        free_mib = self.total_mib - self.promised_mib
        if needed_mib > free_mib:
            reason = (
                f"it needs {needed_mib:.0f} MiB and {max(free_mib, 0):.0f} of {self.total_mib:.0f} MiB of the device"
                " are not promised to others"
            )
            return Refusal(reason, memory_mib <= self.total_mib)
        self.weights_mib[digest] = max(weights_mib, self.weights_mib.get(digest, 0.0))
        self.replicas[replica] = _Reservation(digest, own_mib)
        return None

    def release(self, replica: ReplicaId) -> None:
        """The replica is gone; its model's weights are free with the last replica of it."""
        held = self.replicas.pop(replica, None)
        if held is not None and all(other.digest != held.digest for other in self.replicas.values()):
            self.weights_mib.pop(held.digest, None)
