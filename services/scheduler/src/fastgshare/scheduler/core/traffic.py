"""Demand from the gateways' cumulative counts: an arrival rate, what waits, when there last was anything.

A gateway's counts start over with each incarnation of it; the first counts of one that was never heard before are
a base line and no arrivals. A gateway that falls silent counts for nothing.
"""

import math
from typing import NamedTuple

from fastgshare.scheduler.core import forecast
from fastgshare.scheduler.core.records import GatewayTraffic, Traffic
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.ids import GatewayId
from fastgshare.shared.messages import FunctionLoad
from fastgshare.shared.units import US_PER_S

MEMORY_US = 60 * US_PER_S
"""Of how much execution the observed throughput is an average."""


class Progress(NamedTuple):
    """What one function did at one gateway between two reports."""

    arrived: int
    answered: int
    execute_us: int


def count(seen: GatewayTraffic, load: FunctionLoad, now_us: int, settings: Settings) -> Progress:
    """Take a gateway's counts in: the rate moves towards the latest arrivals, over about `rate_us`."""
    progress = Progress(
        max(0, load.arrived - seen.arrived),
        max(0, load.answered - seen.answered),
        max(0, load.execute_us - seen.execute_us),
    )
    forecast.observe(seen.signal, progress.arrived, now_us - seen.at_us, settings)
    elapsed_us = max(1, now_us - seen.at_us)
    weight = 1 - math.exp(-elapsed_us / settings.rate_us)
    seen.rate_rps += weight * (progress.arrived * US_PER_S / elapsed_us - seen.rate_rps)
    seen.at_us = now_us
    set_counts(seen, load)
    return progress


def set_counts(seen: GatewayTraffic, load: FunctionLoad) -> None:
    """From here on, arrivals are what exceeds these counts."""
    seen.arrived, seen.answered, seen.execute_us = load.arrived, load.answered, load.execute_us
    seen.outstanding, seen.held = load.outstanding, load.held


def observe(traffic: Traffic, progress: Progress, load: FunctionLoad, now_us: int) -> None:
    """Remember what a second of execution answers, and that there was something to do."""
    if progress.arrived or load.outstanding or load.held:
        traffic.active_us = traffic.busy_us = now_us
    if progress.answered and progress.execute_us:
        keep = max(0.0, 1 - progress.execute_us / MEMORY_US) if traffic.execute_us > MEMORY_US else 1.0
        traffic.answered = traffic.answered * keep + progress.answered
        traffic.execute_us = traffic.execute_us * keep + progress.execute_us


def demand(traffic: Traffic, gateway: GatewayId, held: int, now_us: int) -> None:
    """Requests wait for a first replica; the gateway's next counts take over from this."""
    seen = traffic.gateways.get(gateway)
    if seen is not None:
        seen.held = held
    traffic.active_us = traffic.busy_us = now_us


def rate_rps(traffic: Traffic, now_us: int, settings: Settings) -> float:
    """Arrivals a second, over all gateways that still speak."""
    return sum(seen.rate_rps for seen in _speaking(traffic, now_us, settings))


def expected(traffic: Traffic, now_us: int, settings: Settings) -> forecast.Forecast:
    """What is to arrive, over all gateways that still speak."""
    return forecast.forecast((seen.signal for seen in _speaking(traffic, now_us, settings)), settings)


def held(traffic: Traffic, now_us: int, settings: Settings) -> int:
    """Requests that wait at gateways for a replica."""
    return sum(seen.held for seen in _speaking(traffic, now_us, settings))


def outstanding(traffic: Traffic, now_us: int, settings: Settings) -> int:
    """Requests that replicas have and did not answer yet."""
    return sum(seen.outstanding for seen in _speaking(traffic, now_us, settings))


def is_busy(traffic: Traffic, now_us: int, settings: Settings) -> bool:
    """Whether requests arrived, waited or were on their way a moment ago."""
    return traffic.busy_us is not None and now_us - traffic.busy_us < settings.calm_us


def observed_rps(traffic: Traffic) -> float | None:
    """Answers per second of execution, where some were seen."""
    if traffic.execute_us <= 0 or traffic.answered <= 0:
        return None
    return traffic.answered * US_PER_S / traffic.execute_us


def _speaking(traffic: Traffic, now_us: int, settings: Settings) -> list[GatewayTraffic]:
    return [seen for seen in traffic.gateways.values() if now_us - seen.at_us <= settings.gateway_silent_us]
