"""How figures of a table are written: about three digits that mean something, and errors in percent. Pure."""

from datetime import UTC, datetime

from fastgshare.cli.running import in_ms
from fastgshare.shared.units import US_PER_S, us_to_ms

MS_PER_S = 1_000


def brief(value: float) -> str:
    """Five characters at most, below a thousand million."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= 10 * size or (unit == "M" and value >= size):
            scaled = value / size
            return f"{scaled:.{0 if scaled >= 99.95 else 1}f}{unit}"
    return f"{value:.{0 if value >= 99.95 else 1 if value >= 9.995 else 2}f}"


def percent(error: float) -> str:
    """A relative error, such as `±4 %`; nothing for none. Above 100 % there is nothing known to be near."""
    if error <= 0:
        return ""
    if error > 1:
        return ">100 %"
    return f"±{100 * error:.{0 if error >= 0.0095 else 1}f} %"


def ms(time_us: float) -> str:
    """Milliseconds; a dash where nothing is known."""
    if time_us <= 0:
        return "-"
    return in_ms(time_us) if time_us < US_PER_S else f"{us_to_ms(time_us):.0f}"


def lasting(time_ms: float) -> str:
    """A duration for people."""
    seconds = round(time_ms / MS_PER_S)
    if seconds < 1:
        return "less than 1 s"
    if seconds < 120:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 120:
        return f"{minutes} min" if seconds == 0 or minutes >= 10 else f"{minutes} min {seconds} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def day(at_us: int) -> str:
    """The day, by UTC."""
    return datetime.fromtimestamp(at_us / US_PER_S, UTC).strftime("%Y-%m-%d")
