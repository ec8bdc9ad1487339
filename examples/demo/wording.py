"""Numbers as people read them. Pure."""


def share(value: float | None) -> str:
    """A share of a whole; never rounded up to all of it."""
    if value is None:
        return "-"
    return f"{min(value, 0.999):.1%}" if value < 1 else "100%"


def ms(time_ms: float | None) -> str:
    """Milliseconds, with a decimal where it matters."""
    if time_ms is None:
        return "-"
    return f"{time_ms:.0f}" if time_ms >= 100 else f"{time_ms:.1f}"
