"""The numbers behind the scheduler's decisions. Times in integer microseconds."""

import msgspec

from fastgshare.shared.units import US_PER_S


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision depends on besides the facts.

    A node is silent after `missed_heartbeats` of its own intervals, and never before `silent_us`; one that was
    never heard of, after `expect_us`. A device may be away for `device_us` (its worker restarts). A replica that
    fails transiently, or that its node never reports, is placed anew after `transient_us` or `unreported_us`,
    doubled at each repetition up to `patience_us`.

    Automatic scaling keeps `headroom` above the measured rate, works off what waits within `drain_us`, goes down
    only after `scale_down_us` of lower need, and to zero (where allowed) after `idle_us` without a request.

    `policy` is what an empty `autoscale.policy` means. Forecasts reach `horizon_us` ahead; a trend is told from about
    `trend_us`, scatter from `spread_us`, levels from `rate_us`. `window_us` is the nodes' window, over which quotas are
    accounted. Neighbours on the same device stretch a batch by up to `stretch` of its time. Where a
    replica's chunks had no time left for a larger quota, another attempt is made after `cramped_us`.

    What there was no room for is told again after `tell_us`. While a function waits for room on a device that another
    is on, less must have been enough for that other for `yield_us` only. For what is on a device that is away,
    another is brought up elsewhere after `stand_in_us`, where there is room; who is ready first stays.

    A slice is lent where no request was seen for `calm_us`, and taken back when nobody asked for it for `unasked_us`.

    At most `reviews` functions are planned in one step; the rest follow at once, or at their own part of a tick.
    Room for a replica that fits nowhere is sought on other devices every `make_room_us`. A device is emptied into
    others after `consolidate_us` in which nothing was placed or removed, and not again for `rest_us`.
    """

    tick_us: int = US_PER_S // 2
    missed_heartbeats: int = 3
    silent_us: int = 2 * US_PER_S
    expect_us: int = 10 * US_PER_S
    device_us: int = 10 * US_PER_S
    late_us: int = US_PER_S
    forget_us: int = 600 * US_PER_S
    transient_us: int = 10 * US_PER_S
    unreported_us: int = 30 * US_PER_S
    patience_us: int = 300 * US_PER_S
    idle_us: int = 60 * US_PER_S
    drain_us: int = 2 * US_PER_S
    scale_down_us: int = 30 * US_PER_S
    scale_up_us: int = 5 * US_PER_S
    rate_us: int = 3 * US_PER_S
    gateway_silent_us: int = 5 * US_PER_S
    headroom: float = 0.2
    calm_us: int = 2 * US_PER_S
    unasked_us: int = 3 * US_PER_S
    reviews: int = 16
    make_room_us: int = 10 * US_PER_S
    consolidate_us: int = 60 * US_PER_S
    rest_us: int = 300 * US_PER_S
    policy: str = "fixed"
    horizon_us: int = 4 * US_PER_S
    trend_us: int = 6 * US_PER_S
    spread_us: int = 30 * US_PER_S
    window_us: int = US_PER_S // 10
    stretch: float = 0.25
    cramped_us: int = 10 * US_PER_S
    tell_us: int = 30 * US_PER_S
    yield_us: int = 3 * US_PER_S
    stand_in_us: int = 2 * US_PER_S
