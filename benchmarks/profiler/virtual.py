"""Profiles of emulated models in virtual time: the profiler's plan, the worker's measurement and the token core.

Nothing of these is written for the benchmark: only the device is, a speed curve whose batches scatter by some percent
and whose first batches are slow.
"""

import itertools
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from fastgshare.node_manager.core.measurement import Finished, Measured, Measurement, RunBatch
from fastgshare.node_manager.core.speed import SpeedCurve
from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.core.tokens import TokenBook, permille_of
from fastgshare.profiler.core.arrivals import Luck
from fastgshare.profiler.core.plan import Setting, chunks_of
from fastgshare.profiler.core.points import point_from
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.messages import MeasureReply, MeasureRequest, ProfileAxes, ProfilePoint
from fastgshare.shared.units import US_PER_MS, us_to_s

WINDOW_US = 100_000
SCATTER = 0.02
COLD_RUNS = 3
COLD = 1.5
LUCK = Luck(lambda seed: random.Random(seed).expovariate, long_run=8_000)
REPLICA = ReplicaId("on-loan")
BUDGET_MS = 60_000
REQUESTS = 800
LONGEST_OPEN_MS = 60_000


@dataclass
class Emulated:
    """A model on a device of `chunks` chunks that has been there for `now_us`. `seed` decides about its scatter."""

    curve: SpeedCurve
    chunks: int
    seed: int
    now_us: int = 0

    def measure(self, setting: Setting) -> ProfilePoint:
        """One point, as a worker would measure it on a replica on loan."""
        held = chunks_of(setting.sm_partition, self.chunks)
        request = MeasureRequest(
            batch=setting.batch,
            quota=setting.quota,
            chunks=held,
            budget_ms=BUDGET_MS,
            open_ms=self._open_ms(setting, held),
            max_runs=1_000,
            seed=zlib.crc32(f"{self.seed} {setting}".encode()),
        )
        chance = random.Random(f"{self.seed} {setting}")
        began_us = self.now_us
        measured = self._carry_out(request, Share((1 << held) - 1, 0, permille_of(setting.quota)), chance)
        reply = MeasureReply(
            execute_us=measured.execute_us,
            chunks=held,
            total_chunks=self.chunks,
            warmup_runs=measured.warmup_runs,
            throughput_rps=measured.throughput_rps,
            throughput_error=measured.throughput_error,
            settled=measured.settled,
            note=measured.note,
            latency_us=measured.latency_us,
            load_rps=measured.load_rps,
        )
        return LUCK.even_out(point_from(setting, reply, self.now_us - began_us), request.seed)

    def _open_ms(self, setting: Setting, held: int) -> int:
        """Time for enough requests that the tail of their latencies means something."""
        one_us = self.curve.batch_us(100 * held / self.chunks, setting.batch) / setting.batch
        return min(round(REQUESTS * one_us / setting.quota / US_PER_MS), LONGEST_OPEN_MS)

    def _carry_out(self, request: MeasureRequest, share: Share, chance: random.Random) -> Measured:
        book = TokenBook(self.chunks, WINDOW_US)
        book.set_share(REPLICA, share, self.now_us)
        percent = 100 * request.chunks / self.chunks
        machine = Measurement(request, random.Random(request.seed).expovariate, WINDOW_US)
        runs = 0
        while not isinstance(step := machine.next(self.now_us), Finished):
            if not isinstance(step, RunBatch):
                self.now_us = max(step.at_us, self.now_us)
                continue
            slowness = (COLD if runs < COLD_RUNS else 1.0) * chance.lognormvariate(0.0, SCATTER)
            took_us = max(round(slowness * self.curve.batch_us(percent, step.rows)), 1)
            self._await_token(book, took_us)
            started_us = self.now_us
            self.now_us += took_us
            book.end(REPLICA, took_us, self.now_us)
            machine.ran(started_us, self.now_us, took_us)
            runs += 1
        return step.result

    def _await_token(self, book: TokenBook, expected_us: int) -> None:
        granted = book.ask(REPLICA, expected_us, self.now_us)
        while REPLICA not in granted:
            again_us = book.look_again_us(REPLICA, self.now_us)
            assert again_us is not None, "nobody else is there to wait for"
            self.now_us = max(again_us, self.now_us + 1)
            granted = book.poll(self.now_us)


def grid(axes: ProfileAxes, measure: Callable[[Setting], ProfilePoint]) -> list[ProfilePoint]:
    """Every point of the axes."""
    cells = itertools.product(axes.sm_partitions, axes.quotas, axes.batches)
    return [measure(Setting(*cell)) for cell in cells]


def seconds(device: Emulated) -> float:
    """How long the device was measured on, in its own time."""
    return us_to_s(device.now_us)
