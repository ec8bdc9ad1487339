"""Who may run: a token is the right to run one batch on a set of chunks, and chunks of running tokens never overlap.

Grants follow the order of asking; whoever cannot be granted yet keeps its chunks from those who asked later, so a
wide replica waits for at most the batches that ran or waited before it.
"""

from dataclasses import dataclass, field

from fastgshare.shared.ids import ReplicaId


def mask_of(chunks: tuple[int, ...]) -> int:
    """Chunk indices as a bitmask."""
    mask = 0
    for chunk in chunks:
        mask |= 1 << chunk
    return mask


@dataclass(slots=True)
class TokenBook:
    """Tokens of one device."""

    running: dict[ReplicaId, int] = field(default_factory=dict)
    waiting: dict[ReplicaId, int] = field(default_factory=dict)

    def ask(self, replica: ReplicaId, mask: int) -> list[ReplicaId]:
        """`replica` wants to run a batch on `mask`; returns who may start now."""
        self.waiting[replica] = mask
        return self._grant()

    def ask_now(self, holder: ReplicaId, mask: int) -> bool:
        """Take a token only if nobody runs on `mask` and nobody waits for any of it."""
        for taken in (*self.running.values(), *self.waiting.values()):
            if mask & taken:
                return False
        self.running[holder] = mask
        return True

    def end(self, replica: ReplicaId) -> list[ReplicaId]:
        """`replica`'s batch is done, or it gave up waiting; returns who may start now."""
        self.running.pop(replica, None)
        self.waiting.pop(replica, None)
        return self._grant()

    def _grant(self) -> list[ReplicaId]:
        taken = 0
        for mask in self.running.values():
            taken |= mask
        granted: list[ReplicaId] = []
        for replica, mask in self.waiting.items():
            if not mask & taken:
                granted.append(replica)
            taken |= mask
        for replica in granted:
            self.running[replica] = self.waiting.pop(replica)
        return granted
