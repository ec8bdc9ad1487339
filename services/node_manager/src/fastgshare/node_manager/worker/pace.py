"""How long a replica's batches take: what they took lately, what its table says, and how far apart the two are."""

from fastgshare.node_manager.core.batching import WorkQueue
from fastgshare.node_manager.core.drift import Drift
from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.worker.execution import Executed
from fastgshare.shared.messages import Profile

# Waking a replica's thread and the event loop again costs about this much (docs/decisions/0003).
HERE_BELOW_US = 60
QUICKNESS_WEIGHT = 0.1


class Pace:
    """Of one replica; what it learns, its queue's timetable learns too."""

    def __init__(self, queue: WorkQueue) -> None:
        self.last_us = 0
        self.usual_us = float("inf")
        self._timetable = queue.timetable
        self._drift = Drift()

    @property
    def is_quick(self) -> bool:
        """Whether a batch usually takes less than waking the replica's thread for it."""
        return self.usual_us <= HERE_BELOW_US

    @property
    def drift(self) -> float:
        """How long recent batches took over what the table says; 0 where too few ran or there is no table."""
        return self._drift.ratio

    def learn(self, executed: list[Executed]) -> None:
        """Remember how long batches take."""
        for one in executed:
            if isinstance(one.outcome, ModelFault):
                continue
            self.last_us = one.used_us
            if self.usual_us == float("inf"):
                self.usual_us = one.used_us
            self.usual_us += QUICKNESS_WEIGHT * (one.used_us - self.usual_us)
            rows = sum(job.rows for job in one.jobs)
            self._timetable.learn_run(rows, one.used_us)
            self._drift.note(one.used_us, self._timetable.told_us(rows))

    def learn_long(self, took_us: int) -> None:
        """One took so long that it is not taken for quick until runs are short again."""
        self.usual_us = max(self.usual_us, took_us)

    def learn_profile(self, profile: Profile | None) -> None:
        """There is another table."""
        self._timetable.learn_profile(profile)
        self._drift.forget()

    def hold(self, chunks: int, of: int) -> None:
        """Batches take as long as the table says for the chunks that are held now."""
        self._timetable.hold(100 * max(chunks, 1) / of)
        self._drift.forget()
