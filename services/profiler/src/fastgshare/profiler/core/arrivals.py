"""What luck with the arrivals did to the latencies of an open loop, so that it can be taken out again.

At four fifths of capacity a queue forgets slowly: the tail of some hundred requests is a matter of whether a burst was
among them, and two honest measurements of one point differ by a factor of two. But the arrivals are known (they are
drawn from the request's seed), and how a queue answers them is known well enough: so the same arrivals go through a
plain model of the slice, and how far its percentiles are from what the model does in the long run is how far the
measured ones are off (a ratio estimator with a control variate; Asmussen and Glynn 2007, V.2). The model need not be
right for that, only alike: `docs/decisions/0008` has what it gains.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from fastgshare.shared.messages import ProfilePoint
from fastgshare.shared.units import US_PER_MS, US_PER_S

PERCENTILES = (50, 95, 99)
LONG_RUN = 20_000
LONG_RUN_SEED = 12_345
CREDIT_US = 10 * US_PER_MS
"""A replica that was idle may be that much ahead of its quota: a tenth of a window."""
FIXED = 0.5
"""Of a full batch's time, what a batch of one would take as well, while nobody has measured it."""
MOST = 4.0
BUSIEST = 0.95
"""Share of its capacity beyond which the model's queue has no long run that 20,000 requests would tell."""


@dataclass(frozen=True, slots=True)
class Server:
    """A slice as a queue sees it: batches of up to `batch` inputs, a full one `device_us`, for `quota` of the time."""

    batch: int
    device_us: int
    quota: float

    def utilisation(self, load_rps: float) -> float:
        """What share of its capacity in full batches these arrivals take."""
        return load_rps * self.device_us / (self.batch * self.quota * US_PER_S)

    def batch_us(self, rows: int) -> float:
        """How long a batch of `rows` takes."""
        return self.device_us * (FIXED + (1 - FIXED) * rows / self.batch) if self.batch > 1 else self.device_us


class Luck:
    """Tells what luck was worth. `exponential(seed)` gives what draws gaps at a rate, as the worker does:
    `random.Random(seed).expovariate`; `long_run` is how many requests tell what is usual."""

    def __init__(self, exponential: Callable[[int], Callable[[float], float]], long_run: int = LONG_RUN) -> None:
        self._exponential = exponential
        self._long_run = long_run

    def even_out(self, point: ProfilePoint, seed: int) -> ProfilePoint:
        """A point with its latencies as they usually would have been."""
        if not point.requests:
            return point
        server = Server(point.batch, point.device_us, point.quota)
        factors = self.corrections(server, point.load_rps, seed, point.requests)
        measured = (point.latency_p50_us, point.latency_p95_us, point.latency_p99_us)
        p50_us, p95_us, p99_us = (round(us * factor) for us, factor in zip(measured, factors, strict=True))
        p95_us = max(p50_us, p95_us)
        return replace(point, latency_p50_us=p50_us, latency_p95_us=p95_us, latency_p99_us=max(p95_us, p99_us))

    def corrections(self, server: Server, load_rps: float, seed: int, requests: int) -> tuple[float, float, float]:
        """What to multiply the measured percentiles (50, 95, 99) by; `requests` arrivals were drawn from `seed`.

        1 where the model cannot tell: a slice that did more than its quota and batch time allow is not like it.
        """
        if requests < 1 or not 0 < server.utilisation(load_rps) <= BUSIEST:
            return 1.0, 1.0, 1.0
        usual = self._in_the_long_run(server, load_rps)
        drawn = percentiles_us(latencies_us(server, self.gaps_us(load_rps, seed, requests)))
        p50, p95, p99 = (min(max(long / now, 1 / MOST), MOST) for long, now in zip(usual, drawn, strict=True))
        return p50, p95, p99

    def gaps_us(self, load_rps: float, seed: int, requests: int) -> list[float]:
        """The gaps of a Poisson process, as the worker draws them."""
        draw = self._exponential(seed)
        return [draw(load_rps / US_PER_S) for _ in range(requests)]

    def _in_the_long_run(self, server: Server, load_rps: float) -> tuple[float, float, float]:
        return percentiles_us(latencies_us(server, self.gaps_us(load_rps, LONG_RUN_SEED, self._long_run)))


def latencies_us(server: Server, gaps: Sequence[float]) -> list[float]:
    """From arrival to answer of each of the requests that come after these gaps, in microseconds."""
    arrivals: list[float] = []
    now_us = 0.0
    for gap_us in gaps:
        now_us += gap_us
        arrivals.append(now_us)
    found: list[float] = []
    free_us = paid_us = 0.0
    at = 0
    while at < len(arrivals):
        start_us = max(free_us, paid_us, arrivals[at])
        rows = 1
        while rows < server.batch and at + rows < len(arrivals) and arrivals[at + rows] <= start_us:
            rows += 1
        took_us = server.batch_us(rows)
        free_us = start_us + took_us
        if server.quota < 1:
            paid_us = max(paid_us, start_us - CREDIT_US) + took_us / server.quota
        found += [free_us - arrived_us for arrived_us in arrivals[at : at + rows]]
        at += rows
    return found


def percentiles_us(latencies: Sequence[float]) -> tuple[float, float, float]:
    """The nearest-rank percentiles, at least 1."""
    ordered = sorted(latencies)
    p50, p95, p99 = (max(ordered[max(-(-percent * len(ordered) // 100), 1) - 1], 1.0) for percent in PERCENTILES)
    return p50, p95, p99
