"""What will arrive in a few seconds: level, trend and bursts of the counts that gateways report.

Double exponential smoothing (Holt 1957) with time constants instead of steps, because reports come when they come. A
count that is out of all proportion to what was expected is a step: the level takes it at once and the trend starts
over, so that one report is enough to react. A trend counts only for rising, and only as far as it is larger than what
chance makes of a steady rate. Bursts are what counts scatter beyond a Poisson process: the index of dispersion
(variance over mean), 1 for Poisson, above for arrivals in clumps.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.units import US_PER_S

LEAST_SPAN_US = US_PER_S // 5
"""Counts of less time than this are put together: over shorter ones a rate says nothing."""
STEP_SIGMAS = 4.0
"""A count this far above what was expected is a step: by chance once in some hours."""
BURST_SIGMAS = 2.0
CALM_DISPERSION = 1.75
"""Up to here chance may make an index of dispersion out of a Poisson process."""
MOST_DISPERSION = 100.0
BURST_US = US_PER_S // 2
"""Over so long a burst has to be taken; queues smooth what is shorter."""
LEAST_RPS = 0.01


@dataclass(slots=True)
class Signal:
    """The arrivals of one function at one gateway. `spread` is the variance of its counts, a second."""

    level_rps: float = 0.0
    trend_rps_per_s: float = 0.0
    spread: float = 0.0
    pending: int = 0
    pending_us: int = 0
    has_begun: bool = False


class Forecast(NamedTuple):
    """Requests a second: now, in `horizon_us` (never less than now), and what bursts may add to that."""

    rate_rps: float
    coming_rps: float
    burst_rps: float


def observe(signal: Signal, arrived: int, elapsed_us: int, settings: Settings) -> None:
    """Take in that so many requests came in so long."""
    signal.pending += arrived
    signal.pending_us += elapsed_us
    if signal.pending_us < LEAST_SPAN_US:
        return
    arrived, elapsed_s = signal.pending, signal.pending_us / US_PER_S
    signal.pending = signal.pending_us = 0
    if not signal.has_begun:
        signal.has_begun = True
        signal.level_rps = signal.spread = arrived / elapsed_s
        return
    _move(signal, arrived, elapsed_s, settings)


def _move(signal: Signal, arrived: int, elapsed_s: float, settings: Settings) -> None:
    told_rps = signal.level_rps + max(signal.trend_rps_per_s, 0.0) * elapsed_s  # no fall goes on below what arrives
    expected = told_rps * elapsed_s
    surprise = arrived - expected
    step = STEP_SIGMAS * math.sqrt(max(dispersion(signal.spread, signal.level_rps) * expected, 1.0))
    scatter = min(abs(surprise), step) if surprise > -step else 0.0  # that a rate has dropped is no burst
    signal.spread += _weight(elapsed_s, settings.spread_us) * (scatter**2 / elapsed_s - signal.spread)
    if surprise > step:
        signal.level_rps, signal.trend_rps_per_s = arrived / elapsed_s, 0.0
        return
    before_rps = signal.level_rps
    signal.level_rps = told_rps + _weight(elapsed_s, settings.rate_us) * surprise / elapsed_s
    slope = (signal.level_rps - before_rps) / elapsed_s
    signal.trend_rps_per_s += _weight(elapsed_s, settings.trend_us) * (slope - signal.trend_rps_per_s)


def dispersion(spread: float, level_rps: float) -> float:
    """The index of dispersion, at least 1."""
    if level_rps <= LEAST_RPS:
        return 1.0
    return min(max(spread / level_rps, 1.0), MOST_DISPERSION)


def forecast(signals: Iterable[Signal], settings: Settings) -> Forecast:
    """What all gateways together will bring."""
    level_rps = trend = spread = 0.0
    for signal in signals:
        level_rps += signal.level_rps
        trend += signal.trend_rps_per_s
        spread += signal.spread
    scatter = dispersion(spread, level_rps)
    horizon_s = settings.horizon_us / US_PER_S
    chance_rps = math.sqrt(scatter * level_rps * US_PER_S / (2 * settings.rate_us))
    rising_rps = trend * horizon_s - chance_rps * settings.horizon_us / settings.trend_us
    coming_rps = level_rps + min(max(rising_rps, 0.0), level_rps)
    excess = scatter - 1 if scatter > CALM_DISPERSION else 0.0
    burst_rps = BURST_SIGMAS * math.sqrt(excess * level_rps * US_PER_S / BURST_US)
    return Forecast(level_rps, coming_rps, burst_rps)


def _weight(elapsed_s: float, constant_us: int) -> float:
    return 1 - math.exp(-elapsed_s * US_PER_S / constant_us)
