"""A measurement under way on a replica: what it asks for, between real work, under the replica's tokens."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from fastgshare.node_manager.core.measurement import Finished, Measured, Measurement, RunBatch, WaitUntil
from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.ports import Session
from fastgshare.node_manager.worker.watch import Watch
from fastgshare.shared.arrays import Array
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.errors import FastGShareError


class MeasurementRefused(FastGShareError):
    """A measurement that cannot be made now, through no fault of the model: field `reason`."""

    def __str__(self) -> str:
        return str(self.fields["reason"])


@dataclass(slots=True)
class Probe:
    """A measurement with `feed`, the inputs of its largest batch. `others_us`: for how long others ran here, ever."""

    measurement: Measurement
    feed: dict[str, Array]
    done: "Future[Measured]"
    others_us: Callable[[], int]
    watch: Watch | None = None
    last_us: int = 0
    is_over: bool = False
    _own_work_us: int = 0

    def begin(self) -> None:
        """Its first run is next."""
        if self.watch is not None:
            self.watch.begin(monotonic_us())

    def waits_us(self) -> int:
        """How long until there is something to run; 0: there is now."""
        now_us = monotonic_us()
        step = self.measurement.next(now_us)
        return max(step.at_us - now_us, 0) if isinstance(step, WaitUntil) else 0

    def run(self, session: Session) -> int:
        """One batch, if one is due; the device time it took."""
        step = self.measurement.next(monotonic_us())
        if not isinstance(step, RunBatch):
            return 0
        started_us = monotonic_us()
        try:
            self.last_us = session.run(self._rows(step.rows)).device_us
        except ModelFault as fault:
            self.is_over = True
            self.done.set_exception(fault)
            return monotonic_us() - started_us
        ended_us = monotonic_us()
        was_open = self.measurement.is_open
        self.measurement.ran(started_us, ended_us, self.last_us, self.others_us() + self._own_work_us)
        self._look(ended_us, was_open)
        step = self.measurement.next(ended_us)
        if isinstance(step, Finished):
            self.is_over = True
            self.done.set_result(step.result)
        return self.last_us

    def note_work(self, used_us: int) -> None:
        """The replica ran real work meanwhile, which disturbs as much as that of others."""
        self._own_work_us += used_us

    def refuse(self, reason: str) -> None:
        """It will not be made, or not to its end."""
        self.is_over = True
        self.done.set_exception(MeasurementRefused(reason=reason))

    def _look(self, now_us: int, was_open: bool) -> None:
        if self.watch is None:
            return
        has_closed = self.measurement.is_open != was_open
        is_last = isinstance(self.measurement.next(now_us), Finished)
        reason = self.watch.look(now_us, is_busy=not was_open, at_once=has_closed or is_last)
        if reason and not is_last:
            self.measurement.stop(now_us, reason)

    def _rows(self, rows: int) -> dict[str, Array]:
        if rows == self.measurement.request.batch:
            return self.feed
        return {name: array[:rows] for name, array in self.feed.items()}
