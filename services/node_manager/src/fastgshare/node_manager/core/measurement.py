"""One measured point, decided run by run: whoever has the device and a clock does what `next` says and tells of it.

    warm-up → closed loop → open loop → finished

Closed loop: runs back to back. It ends once the throughput *by the wall clock*, which waiting for tokens is part of, is
known within the precision asked for; else with the runs or the time it was given. Warm-up ends when times are steady,
not after a while. Open loop: `core.open_loop`. How well something is known: `core.steady`.

    measurement = Measurement(request, random.Random(request.seed).expovariate)
    while not isinstance(step := measurement.next(now_us), Finished):
        RunBatch(rows): run it, then `ran`;  WaitUntil(at_us): nothing has arrived, ask again then, without a token

Time is an argument throughout, so the same decisions are made on a worker's clock and on a virtual one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from fastgshare.node_manager.core.open_loop import OpenLoop
from fastgshare.node_manager.core.steady import LEAST_BLOCK_US, STEADY, UNKNOWN, Course, is_steady, rate_of, shift_of
from fastgshare.shared.messages import MeasureRequest
from fastgshare.shared.messages.profile import MAX_RUNS
from fastgshare.shared.units import US_PER_MS, US_PER_S, us_to_s

WINDOW_US = 100_000
WARMUP_SHARE = 0.5  # of the budget, at most
LEAST_BLOCKS = 8  # no interval of fewer is trusted to end a measurement early
LEAST_WINDOWS = 6
LOOK_AGAIN = 1.2  # a look that comes too often stops at a lucky moment
SETTLED_PRECISIONS = 3
SETTLED_ERROR = 0.05
DISTURBED = 0.05


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of it; the fields are those of `MeasureReply`."""

    execute_us: tuple[int, ...]
    warmup_runs: int
    throughput_rps: float
    throughput_error: float
    settled: bool
    note: str
    latency_us: tuple[int, ...] = ()
    load_rps: float = 0.0
    disturbed: float = 0.0


@dataclass(frozen=True, slots=True)
class RunBatch:
    """Run a batch of so many inputs under a token, then tell by `ran`."""

    rows: int


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Nothing is to be run before then."""

    at_us: int


@dataclass(frozen=True, slots=True)
class Finished:
    """It is over."""

    result: Measured


Step = RunBatch | WaitUntil | Finished


class Measurement:
    """What `request` asks for. `gap(rate)` draws an exponential gap; `window_us` is what quotas are accounted over.

    `request.quota` tells whether tokens are paced: above 0 and below 1. With `warmup_runs` 0 there is no warm-up; else
    it takes `least_warmup_us` at least, which the budget does not count.
    """

    def __init__(
        self,
        request: MeasureRequest,
        gap: Callable[[float], float],
        window_us: int = WINDOW_US,
        least_warmup_us: int = 0,
    ) -> None:
        self.request = request
        self._gap = gap
        self._least_warmup_us = least_warmup_us
        self._grain_us = window_us if 0 < request.quota < 1 else 1
        self._warm: Course | None = None
        self._closed: Course | None = None
        self._open: OpenLoop | None = None
        self._look_us = 0.0
        self._load_rps = 0.0
        self._others_us: int | None = None
        self._disturbed = 0.0
        self._notes: list[str] = []
        self._is_cold = self._is_warming  # the first run of all may be slow: what it loads is loaded then
        self._slow_us: tuple[int, ...] = ()
        self._is_stopped = False
        self._is_over = False

    @property
    def is_open(self) -> bool:
        """Whether the closed loop is over."""
        return self._open is not None or self._is_over

    def next(self, now_us: int) -> Step:
        """What is to be done now. Asking again changes nothing but how many inputs have arrived."""
        if self._is_over:
            return Finished(self._measured())
        if self._open is None:
            return RunBatch(self.request.batch)
        rows = self._open.take(now_us)
        return RunBatch(rows) if rows else WaitUntil(self._open.next_us)

    def ran(self, started_us: int, ended_us: int, device_us: int, others_us: int = 0) -> None:
        """The batch of the last `RunBatch` ran; `others_us`: for how long others ran on its chunks, ever."""
        if self._open is not None:
            self._open.ran(ended_us)
        elif self._is_warming:
            self._warm_up(started_us, ended_us, device_us)
        else:
            self._closed = self._closed or Course(started_us, self._grain_us)
            self._closed.add(ended_us, device_us)
        self._note_others(ended_us, others_us)
        is_cold, self._is_cold = self._is_cold, False
        if self.request.slowest_ms and device_us > self.request.slowest_ms * US_PER_MS and not is_cold:
            self._end_slow(started_us, ended_us, device_us)
        elif self._open is not None:
            self._is_over = self._open.is_over
        elif self._closed is not None and len(self._closed) and self._is_known(self._closed):
            self._open_up(ended_us)

    def stop(self, now_us: int, note: str) -> None:
        """End it here, with what is known by now."""
        if self._open is not None:
            self._open.give_up(now_us)
        self._notes = [note]
        self._is_stopped = self._is_over = True

    # Warm-up

    @property
    def _is_warming(self) -> bool:
        return self._closed is None and self.request.warmup_runs > 0

    def _warm_up(self, started_us: int, ended_us: int, device_us: int) -> None:
        if self._warm is None:
            self._warm = Course(started_us, self._grain_us)
        warm = self._warm
        warm.add(ended_us, device_us)
        runs = len(warm)
        beyond_us = warm.span_us - self._least_warmup_us
        if runs < self.request.warmup_runs or (beyond_us < 0 and runs < MAX_RUNS):
            return
        is_late = beyond_us >= WARMUP_SHARE * self.request.budget_ms * US_PER_MS or runs >= MAX_RUNS
        if runs < self._look_us and not is_late:
            return
        self._look_us = ceil(runs * LOOK_AGAIN)
        steady = is_steady(warm)
        if not steady and not is_late:
            return
        if steady is False:
            self._notes.append(f"its times were not steady after {runs} warm-up runs")
        self._closed = Course(ended_us, self._grain_us)
        self._look_us = 0.0

    # Closed loop

    def _is_known(self, course: Course) -> bool:
        """Whether the closed loop may end here."""
        request = self.request
        runs = len(course)
        if runs < request.min_runs:
            return False
        first_us = course.begun_us
        if self._warm is not None:
            first_us = min(self._warm.begun_us + self._least_warmup_us, first_us)
        if runs >= request.max_runs or course.ended_us - first_us >= request.budget_ms * US_PER_MS:
            return True
        least = LEAST_WINDOWS if self._grain_us > 1 else LEAST_BLOCKS
        if course.span_us < max(self._look_us, least * max(self._grain_us, LEAST_BLOCK_US)):
            return False
        self._look_us = course.span_us * LOOK_AGAIN
        rate = rate_of(course)
        return rate.blocks >= least and rate.error <= request.precision

    def _end_slow(self, started_us: int, ended_us: int, device_us: int) -> None:
        """Too slow to go on: what is known of it is that batch at least, and it is among the times that are told.

        Waiting for the slice makes no batch slow: only its time on the device counts.
        """
        if self._open is not None:
            self._slow_us = (device_us,)
        if self._closed is None or not len(self._closed):
            self._closed = Course(started_us)
            self._closed.add(ended_us, device_us)
        limit_s = self.request.slowest_ms / 1000
        self.stop(ended_us, f"one batch took {us_to_s(device_us):.3g} s, longer than {limit_s:.3g} s")

    # Open loop

    def _open_up(self, now_us: int) -> None:
        request = self.request
        assert self._closed is not None
        per_us = rate_of(self._closed).per_us * request.batch * request.load
        if not request.open_ms or per_us <= 0:
            self._is_over = True
            return
        self._load_rps = per_us * US_PER_S
        self._open = OpenLoop(now_us, request.open_ms * US_PER_MS, per_us, request.batch, self._gap)
        self._is_over = self._open.is_over

    # The result

    def _note_others(self, now_us: int, others_us: int) -> None:
        if self._others_us is None or self._closed is None or not len(self._closed):
            self._others_us = others_us  # what they do during the warm-up harms nothing
            return
        passed_us = max(now_us - self._closed.begun_us, 1)
        self._disturbed = min(max(others_us - self._others_us, 0) / passed_us, 1.0)

    def _measured(self) -> Measured:
        course = self._closed or Course(0)
        rate = rate_of(course)
        notes = self._notes if self._is_stopped else [*self._notes, *self._doubts(course)]
        return Measured(
            execute_us=(*course.device_us, *self._slow_us),
            warmup_runs=len(self._warm) if self._warm is not None else 0,
            throughput_rps=rate.per_us * self.request.batch * US_PER_S,
            throughput_error=rate.error,
            settled=not notes,
            note="; ".join(notes),
            latency_us=self._open.latency_us if self._open is not None else (),
            load_rps=self._load_rps,
            disturbed=self._disturbed,
        )

    def _doubts(self, course: Course) -> list[str]:
        doubts: list[str] = []
        shift = shift_of(course)
        if shift is not None and abs(shift) > STEADY:
            longer = "longer" if shift > 0 else "shorter"
            doubts.append(f"the times of the second half were {_percent(abs(shift))} {longer}")
        error = rate_of(course).error
        if error > max(SETTLED_PRECISIONS * self.request.precision, SETTLED_ERROR):
            known = f"they tell it within {_percent(error)} only" if error < UNKNOWN else "too few to tell how well"
            doubts.append(f"{len(course)} runs in the budget: {known}")
        if self._disturbed > DISTURBED:
            doubts.append(f"others ran on its chunks for {_percent(self._disturbed)} of the time")
        if self._open is not None and self._open.unanswered:
            waiting, requests = self._open.unanswered, len(self._open.latency_us)
            doubts.append(f"{waiting} of {requests} requests of the open loop were not answered in time")
        return doubts


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
