"""What a function should have: a fixed number of replicas, or what its policy makes of demand between two bounds.

Up at once, as far as demand and the work that waits require. Down only to the most that was needed over
`scale_down_us`. To zero, where allowed, when nothing was asked for `idle_us`. A generation that was never ready is
brought up once whatever the demand, so that its deployment ends with an answer. Which slices that takes is for the
policy to say (`policies`); while nothing is known of a model, the definition's slice it is, and the number follows.
"""

import math
from typing import NamedTuple, TypeVar

from fastgshare.scheduler.core import traffic
from fastgshare.scheduler.core.policies import FIXED, policy_named, port
from fastgshare.scheduler.core.policies.port import Demand, Policy
from fastgshare.scheduler.core.records import FunctionState, Scale
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.messages import Autoscale, FunctionSpec
from fastgshare.shared.units import US_PER_S

BATCHES_AHEAD = 2
"""Work in a replica's hands up to this many full batches is not a backlog."""
Need = TypeVar("Need", int, float)
NO_RATE_RPS = 0.01
"""A smoothed rate never quite reaches zero."""


class Supply(NamedTuple):
    """What a function has: replicas placed, those ready of them, and what one does a second where known."""

    placed: int
    ready: int
    replica_rps: float | None


def wanted(function: FunctionState, spec: FunctionSpec, supply: Supply, now_us: int, settings: Settings) -> int:
    """The number of replicas to have now; moves the function's scale where that is automatic."""
    if spec.autoscale is None:
        return spec.replicas or 0
    scale = function.scale
    if scale.count is None:
        scale.count = supply.placed
        scale.recent = [(now_us, supply.placed)]
    active = _active(function, spec, now_us, settings)
    need = _needed(function, spec, spec.autoscale, supply, active, now_us, settings)
    if not active:
        scale.recent.clear()
    _keep_largest(scale.recent, need, now_us, settings)
    count = min(scale.recent[0][1], spec.autoscale.max)
    if count > scale.count:
        scale.grown_us = now_us
    scale.count = count
    return count


def beyond(function: FunctionState, spec: FunctionSpec, supply: Supply, now_us: int, settings: Settings) -> str:
    """Why as many replicas as there may be are too few, if they are; only where it is known what one does."""
    scale, limits = function.scale, spec.autoscale
    if limits is None or supply.replica_rps is None or scale.count != limits.max or not limits.max:
        return ""
    need_rps = _demand_rps(function, spec, supply, now_us, settings)
    return port.beyond(need_rps, limits.max, limits.max * supply.replica_rps)


def policy_of(spec: FunctionSpec, has_menu: bool, settings: Settings) -> Policy:
    """How the function is scaled now."""
    if spec.autoscale is None or not has_menu:
        return FIXED
    return policy_named(spec.autoscale.policy or settings.policy)


def follows_slice(spec: FunctionSpec, settings: Settings) -> bool:
    """Whether replicas have the definition's slice, whatever is known."""
    return spec.autoscale is None or policy_named(spec.autoscale.policy or settings.policy).is_fixed


def bounds(function: FunctionState, spec: FunctionSpec, now_us: int, settings: Settings) -> tuple[int, int]:
    """How many replicas there may be now, at least and at most; both the minimum while nothing is asked for."""
    limits = spec.autoscale or Autoscale()
    if not _active(function, spec, now_us, settings):
        function.scale.peaks.clear()
        return limits.min, limits.max if limits.min else 0
    return max(limits.min, 1), limits.max


def demand(function: FunctionState, spec: FunctionSpec, ready: int, now_us: int, settings: Settings) -> Demand:
    """What arrives and waits."""
    expected = traffic.expected(function.traffic, now_us, settings)
    rate_rps = traffic.rate_rps(function.traffic, now_us, settings)
    waiting_rps = backlog(function, spec, ready, now_us, settings) * US_PER_S / settings.drain_us
    return Demand(rate_rps, expected.coming_rps, expected.burst_rps, waiting_rps)


def lasting_rps(scale: Scale, need_rps: float, now_us: int, settings: Settings, is_in_the_way: bool) -> float:
    """The most that was needed over the last `scale_down_us`; over `yield_us` where others wait for what it holds."""
    _keep_largest(scale.peaks, need_rps, now_us, settings)
    if not is_in_the_way:
        return scale.peaks[0][1]
    return next(peak for at_us, peak in scale.peaks if now_us - at_us <= settings.yield_us)


def _keep_largest(recent: list[tuple[int, Need]], need: Need, now_us: int, settings: Settings) -> None:
    """Keep the largest needs of the last `scale_down_us`, each with when it was last seen, largest first."""
    while recent and recent[-1][1] <= need:
        recent.pop()
    recent.append((now_us, need))
    while now_us - recent[0][0] > settings.scale_down_us:
        recent.pop(0)


def _active(function: FunctionState, spec: FunctionSpec, now_us: int, settings: Settings) -> bool:
    if spec.generation not in function.proven and spec.generation not in function.failed:
        return True
    return now_us - function.traffic.active_us < settings.idle_us


def _needed(
    function: FunctionState,
    spec: FunctionSpec,
    bounds: Autoscale,
    supply: Supply,
    active: bool,
    now_us: int,
    settings: Settings,
) -> int:
    """What demand asks for at this moment, within the bounds."""
    if not active:
        return bounds.min
    floor = max(bounds.min, 1)
    rate_rps = traffic.rate_rps(function.traffic, now_us, settings)
    waiting = backlog(function, spec, supply.ready, now_us, settings)
    count = function.scale.count or 0
    if supply.replica_rps is None:
        may_grow = supply.ready >= count and now_us - function.scale.grown_us >= settings.scale_up_us
        need = count + 1 if waiting and may_grow else count if rate_rps > NO_RATE_RPS else floor
    else:
        demand_rps = _demand_rps(function, spec, supply, now_us, settings)
        need = math.ceil(demand_rps * (1 + settings.headroom) / supply.replica_rps - 1e-9)
    return min(max(need, floor), bounds.max)


def _demand_rps(function: FunctionState, spec: FunctionSpec, supply: Supply, now_us: int, settings: Settings) -> float:
    """What arrives, and what it takes to work off those that wait."""
    waiting = backlog(function, spec, supply.ready, now_us, settings)
    return traffic.rate_rps(function.traffic, now_us, settings) + waiting * US_PER_S / settings.drain_us


def backlog(function: FunctionState, spec: FunctionSpec, ready: int, now_us: int, settings: Settings) -> int:
    """Requests that wait: held at gateways, and at replicas beyond the next few batches."""
    in_hand = ready * spec.max_batch * BATCHES_AHEAD
    outstanding = traffic.outstanding(function.traffic, now_us, settings)
    return traffic.held(function.traffic, now_us, settings) + max(0, outstanding - in_hand)


def explain(function: FunctionState, spec: FunctionSpec, supply: Supply, now_us: int, settings: Settings) -> str:
    """The numbers behind the current count, for people."""
    if spec.autoscale is None:
        return f"its definition asks for {spec.replicas}"
    rate_rps = traffic.rate_rps(function.traffic, now_us, settings)
    waiting = backlog(function, spec, supply.ready, now_us, settings)
    each = "unknown" if supply.replica_rps is None else f"{supply.replica_rps:.1f}/s"
    return f"{rate_rps:.1f} requests/s arrive, {waiting} wait, a replica does {each}"
