"""Whether a model leaks: its memory grows in most points, and by more in all than its start explains.

What a point gives back counts against what others took: memory that comes and goes is no leak. A batch larger than any
before is expected to take memory, so what a point of a new largest batch adds is left out.
"""

from dataclasses import dataclass, field

LEAST_LEAK_MIB = 64.0
SHARE_OF_START = 0.5
LEAST_POINTS = 4


@dataclass(slots=True)
class Memory:
    """One lent replica's memory over its points, in MiB."""

    began_mib: float = 0.0
    grown_mib: list[float] = field(default_factory=list)
    largest_batch: int = 0

    def measured(self, batch: int, memory_mib: float, grown_mib: float) -> None:
        """A point was measured, the replica having `memory_mib`; meanwhile memory grew by `grown_mib`, or shrank."""
        if not self.largest_batch:
            self.began_mib = memory_mib
        if batch > self.largest_batch:
            self.largest_batch = batch
        else:
            self.grown_mib.append(grown_mib)

    def leak(self) -> str:
        """The finding with its numbers; empty while there is none."""
        growing = sum(grown > 0 for grown in self.grown_mib)
        total_mib = sum(self.grown_mib)
        if growing < LEAST_POINTS or 2 * growing <= len(self.grown_mib):
            return ""
        if total_mib <= max(LEAST_LEAK_MIB, SHARE_OF_START * self.began_mib):
            return ""
        grew = f"{total_mib:.0f} MiB more over {len(self.grown_mib)} points, growing in {growing} of them"
        return f"it leaks memory: {grew}, from {self.began_mib:.0f} MiB"
