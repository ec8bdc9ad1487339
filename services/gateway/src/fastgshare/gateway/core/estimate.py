"""When would a replica finish one more request: from its table at first, then from what came of the requests there.

    finish = base + rows_ahead * cycle

`cycle` is what a row costs while others wait: waiting for the token and running, shared by its batch. `base` is what a
request takes beside the rows ahead of it. Both are exponential averages, so contention that no table knows shows
within a few tens of requests; all times are durations measured on the worker, so clocks that differ do no harm. Where
rows wait, the mean deviation is a margin: at the very deadline half of what is admitted would miss it.
"""

from fastgshare.shared.messages import Slice, Timing
from fastgshare.shared.tables import Table
from fastgshare.shared.units import US_PER_S

CYCLE_WEIGHT = 0.1
BASE_WEIGHT = 0.05
DEVIATION_WEIGHT = 0.05
EXECUTE_WEIGHT = 0.1
LEAST_OF_PROFILE = 0.5
OUTLIER = 2.0


class Estimate:
    """One replica's expected service times: `start_us`, and `row_us` more for each row ahead (see `finish_us`).

    Read by whoever compares many of them for every request.
    """

    __slots__ = (
        "_base_us",
        "_cycle_us",
        "_deviation_us",
        "_first_us",
        "_learned",
        "_per_row_us",
        "_profiled",
        "row_us",
        "start_us",
    )

    def __init__(self) -> None:
        self.start_us = 0.0
        self.row_us = 0.0
        self._first_us = 0.0
        self._per_row_us = 0.0
        self._profiled = False
        self._learned = False
        self._base_us = 0.0
        self._cycle_us = 0.0
        self._deviation_us = 0.0

    @property
    def known(self) -> bool:
        """Whether anything is known yet; before that nothing is refused for its deadline."""
        return self._first_us > 0

    def learn_table(self, table: Table | None, held: Slice | None, max_batch: int) -> None:
        """Take what a table says of batches up to `max_batch` on the slice that is held (None: all of a device).

        By the time it may have at most: neighbours are usually idle, and who believes too much soon learns better from
        what comes of it, while who believes too little refuses what would have been answered, and learns nothing.
        """
        self._profiled = table is not None
        if table is None:
            return
        sm_percent, quota = (held.sm_partition, held.quota_limit) if held is not None else (100, 1.0)
        batches = [batch for batch in table.batches if batch <= max_batch] or [max_batch]
        self._first_us = float(table.at(sm_percent, quota, 1).device_us)
        self._per_row_us = US_PER_S / max(table.at(sm_percent, quota, batch).throughput_rps for batch in batches)
        self._settle()

    def learn_run(self, execute_us: int, batch: int) -> None:
        """A batch of `batch` took `execute_us`: all there is until a table arrives."""
        if self._profiled or execute_us <= 0:
            return
        per_row_us = execute_us / max(batch, 1)
        if not self.known:
            self._first_us, self._per_row_us = float(execute_us), per_row_us
        else:
            self._first_us += EXECUTE_WEIGHT * (execute_us - self._first_us)
            self._per_row_us += EXECUTE_WEIGHT * (per_row_us - self._per_row_us)
        self._settle()

    def learn_outcome(self, predicted_us: int, rows_ahead: int, timing: Timing) -> None:
        """A request predicted to take `predicted_us` behind `rows_ahead` rows came back with these times."""
        cycle_us = (timing.token_us + timing.execute_us) / (timing.batch or 1)
        if not self._learned:
            self._begin()
        self._cycle_us += CYCLE_WEIGHT * (cycle_us - self._cycle_us)
        observed_us = timing.queue_us + timing.token_us + timing.execute_us + timing.handler_us
        self._learn_base(predicted_us, rows_ahead, observed_us)

    def learn_miss(self, predicted_us: int, rows_ahead: int, at_least_us: int) -> None:
        """A request was given up after `at_least_us`: who learns from those that made it believes too much."""
        self._begin()
        self._learn_base(predicted_us, rows_ahead, max(at_least_us, predicted_us))

    def forget_contention(self) -> None:
        """Go back to the table; without one, to knowing nothing."""
        self._learned = False
        if not self._profiled:
            self._first_us = self._per_row_us = 0.0
        self._settle()

    def finish_us(self, waiting_rows: int, rows: int) -> int:
        """Microseconds until `rows` more rows behind `waiting_rows` would be done; 0 while nothing is known."""
        return int(self.start_us + (waiting_rows + rows - 1) * self.row_us)

    @property
    def margin_us(self) -> int:
        """How far off predictions are on average."""
        return int(self._deviation_us) if self._learned else 0

    def _settle(self) -> None:
        """Something was learned: have it count."""
        if self._learned:
            self.start_us, self.row_us = self._base_us, self._cycle_us
        else:
            self.start_us, self.row_us = self._first_us, self._per_row_us

    def _begin(self) -> None:
        if not self._learned:
            self._base_us, self._cycle_us, self._deviation_us = self._first_us, self._per_row_us, 0.0
            self._learned = True

    def _learn_base(self, predicted_us: int, rows_ahead: int, observed_us: int) -> None:
        if 0 < predicted_us < observed_us:  # one stall is not the usual case
            observed_us = min(observed_us, int(OUTLIER * predicted_us) + 1)
        self._deviation_us += DEVIATION_WEIGHT * (abs(observed_us - predicted_us) - self._deviation_us)
        base_us = self._base_us
        base_us += BASE_WEIGHT * (observed_us - rows_ahead * self._cycle_us - base_us)
        least_us = LEAST_OF_PROFILE * self._first_us
        self._base_us = self.start_us = base_us if base_us > least_us else least_us
        self.row_us = self._cycle_us
