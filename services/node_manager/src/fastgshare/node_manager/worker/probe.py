"""A measurement under way on a replica: the same batch again and again, between real work, under its tokens."""

from concurrent.futures import Future
from dataclasses import dataclass, field

from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.ports import Session
from fastgshare.shared.arrays import Array
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.errors import FastGShareError
from fastgshare.shared.messages import MeasureRequest
from fastgshare.shared.units import US_PER_MS


class MeasurementRefused(FastGShareError):
    """A measurement that cannot be made now, through no fault of the model: field `reason`."""

    def __str__(self) -> str:
        return str(self.fields["reason"])


@dataclass(slots=True)
class Probe:
    """What was asked, and what was measured so far, in microseconds of device time."""

    request: MeasureRequest
    feed: dict[str, Array]
    done: "Future[list[int]]"
    execute_us: list[int] = field(default_factory=list)
    warmups: int = 0
    begun_us: int = 0
    last_us: int = 0

    def run(self, session: Session) -> tuple[int, bool]:
        """One run: the device time it took, and whether the measurement is over."""
        started_us = monotonic_us()
        try:
            self.last_us = session.run(self.feed).device_us
        except ModelFault as fault:
            self.done.set_exception(fault)
            return monotonic_us() - started_us, True
        now_us = monotonic_us()
        if self.warmups < self.request.warmup_runs:
            self.warmups += 1
            self.begun_us = now_us
            return self.last_us, False
        self.begun_us = self.begun_us or started_us
        self.execute_us.append(self.last_us)
        runs = len(self.execute_us)
        spent = now_us - self.begun_us >= self.request.budget_ms * US_PER_MS and runs >= self.request.min_runs
        if spent or runs >= self.request.max_runs:
            self.done.set_result(self.execute_us)
            return self.last_us, True
        return self.last_us, False

    def refuse(self, reason: str) -> None:
        """It will not be made, or not to its end."""
        self.done.set_exception(MeasurementRefused(reason=reason))
