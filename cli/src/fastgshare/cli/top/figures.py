"""Numbers as a terminal shows them: short, the digits that mean something, a dash for what is not known. Pure."""

from collections.abc import Sequence
from datetime import datetime

from fastgshare.shared.overview.view import FunctionView
from fastgshare.shared.units import us_to_s

NOTHING = "-"
BARS = "▁▂▃▄▅▆▇█"


def share(value: float | None) -> str:
    """A share as percent; near the whole, where objectives are, with more digits."""
    if value is None:
        return NOTHING
    percent = value * 100
    if percent >= 99.995 or percent < 0.05:
        return f"{percent:.0f}%"
    # Rounded down: what missed is never shown as nothing missed.
    return (
        f"{int(percent * 100) / 100:.2f}%"
        if percent >= 99
        else f"{percent:.1f}%"
        if percent >= 10
        else f"{percent:.2g}%"
    )


def whole_percent(value: float) -> str:
    """A share without digits behind the point."""
    return f"{value:.0%}"


def ms(value: float | None) -> str:
    """Milliseconds, or seconds from ten on."""
    if value is None:
        return NOTHING
    if value >= 10_000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def rate(value: float) -> str:
    """Requests a second."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 or not value else f"{value:.2g}"


def times(value: float | None) -> str:
    """How many times as fast as allowed."""
    if value is None:
        return NOTHING
    return f"{value:.0f}x" if value >= 10 else f"{value:.1f}x"


def mib(value: float) -> str:
    """Memory."""
    return f"{value / 1024:.1f} GiB" if value >= 10_000 else f"{value:.0f} MiB"


def ago(at_us: int, now_us: int) -> str:
    """How long ago, to a digit or two."""
    seconds = max(0, round(us_to_s(now_us - at_us)))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def clock(at_us: int) -> str:
    """The time of day here."""
    return f"{datetime.fromtimestamp(us_to_s(at_us)).astimezone():%H:%M:%S}"


def spark(values: Sequence[float], width: int, whole: float = 0.0) -> str:
    """The values as bars, each against `whole` (0: the largest); several a bar where there is no room for one each."""
    if not values or width < 1:
        return ""
    per_bar = -(-len(values) // width)
    lead = len(values) % per_bar
    groups = [values[at : at + per_bar] for at in range(lead, len(values), per_bar)]
    means = [sum(group) / len(group) for group in groups]
    most = whole or max(means)
    if most <= 0:
        return BARS[0] * len(means)
    return "".join(BARS[min(len(BARS) - 1, round(mean / most * (len(BARS) - 1)))] for mean in means)


def objective(function: FunctionView) -> str:
    """What it promises."""
    return f"p{function.slo_percentile:g} {ms(function.slo_ms)}{'' if function.slo_ms >= 10_000 else ' ms'}"


def is_kept(function: FunctionView, window: str) -> bool | None:
    """Whether so many met the objective as it says; None when there were no requests."""
    met = function.attainment.get(window)
    return None if met is None else met * 100 >= function.slo_percentile - 1e-6


def replicas(function: FunctionView) -> str:
    """How many are ready of how many."""
    least, most = function.wanted_min, function.wanted_max
    wanted = str(least) if least == most else f"{least}-{most}"
    older = f" gen {function.serving}" if function.serving not in (0, function.generation) else ""
    return f"{function.ready}/{wanted}{older}"
