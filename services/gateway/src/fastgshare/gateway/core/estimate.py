"""When would a replica finish one more request: from its profile, what waits there, and how wrong that was lately.

    finish = (execute(1) + waiting_rows / throughput) * correction

The correction is an exponential average of observed over predicted time, so contention that no profile knows shows
within a few tens of requests; a single outlier counts as twice what was expected at most.
"""

from fastgshare.shared.messages import Profile
from fastgshare.shared.units import US_PER_S

CORRECTION_WEIGHT = 0.05
CORRECTION_MIN = 0.5
CORRECTION_MAX = 8.0
OUTLIER = 2.0
EXECUTE_WEIGHT = 0.1


class Estimate:
    """One replica's expected service times."""

    __slots__ = ("_correction", "_first_us", "_per_row_us", "_profiled")

    def __init__(self) -> None:
        self._first_us = 0.0
        self._per_row_us = 0.0
        self._correction = 1.0
        self._profiled = False

    @property
    def known(self) -> bool:
        """Whether anything is known yet; before that nothing is refused for its deadline."""
        return self._first_us > 0

    def learn_profile(self, profile: Profile | None, max_batch: int) -> None:
        """Take the points up to `max_batch` of a table; None forgets it."""
        points = [point for point in profile.points if point.batch <= max_batch] if profile else []
        self._profiled = bool(points)
        if points:
            self._first_us = float(min(points, key=lambda point: point.batch).p50_us)
            self._per_row_us = US_PER_S / max(point.throughput_rps for point in points)

    def learn_run(self, execute_us: int, batch: int) -> None:
        """A batch of `batch` took `execute_us`: all there is until a profile arrives."""
        if self._profiled or execute_us <= 0:
            return
        per_row_us = execute_us / max(batch, 1)
        if not self.known:
            self._first_us, self._per_row_us = float(execute_us), per_row_us
            return
        self._first_us += EXECUTE_WEIGHT * (execute_us - self._first_us)
        self._per_row_us += EXECUTE_WEIGHT * (per_row_us - self._per_row_us)

    def learn_outcome(self, predicted_us: int, observed_us: int) -> None:
        """A request predicted to take `predicted_us` on the replica took `observed_us`."""
        if predicted_us <= 0:
            return
        surprise = min(observed_us / predicted_us, OUTLIER)
        self._correction += CORRECTION_WEIGHT * self._correction * (surprise - 1)
        self._correction = min(max(self._correction, CORRECTION_MIN), CORRECTION_MAX)

    def forget_contention(self) -> None:
        """Go back to the profile; without one, to knowing nothing."""
        self._correction = 1.0
        if not self._profiled:
            self._first_us = self._per_row_us = 0.0

    def finish_us(self, waiting_rows: int, rows: int) -> int:
        """Microseconds until `rows` more rows behind `waiting_rows` would be done; 0 while nothing is known."""
        return int((self._first_us + (waiting_rows + rows - 1) * self._per_row_us) * self._correction)
