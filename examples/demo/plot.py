"""The load second by second, as lines of bars that stand below each other. Pure."""

from collections.abc import Sequence

from examples.demo.figures import Second, Summary

LEVELS = "▁▂▃▄▅▆▇█"
NOTHING = "·"
OVER = "▒"
LABEL_CELLS = 18
LEGEND = (
    "A full column is the objective; for `in time` it is all requests of that second, for the load its highest level. "
    f"{OVER} is above the objective; {NOTHING}: nothing was answered."
)


def over_time(summary: Summary) -> tuple[str, ...]:
    """Phases, load, and each function's percentiles against its objective; a column is a second."""
    lines = [_line("", _names(summary)), _line("load", _loads(summary))]
    for figures in summary.functions:
        function, objective_ms = figures.target.function, figures.target.objective_ms
        seconds = summary.timeline[function]
        lines += [
            _line(f"{function} p50", bars([second.p50_ms for second in seconds], objective_ms)),
            _line(f"{' ' * len(function)} p99", bars([second.p99_ms for second in seconds], objective_ms)),
            _line(f"{' ' * len(function)} in time", bars([_in_time(second) for second in seconds], 1.0)),
        ]
    return tuple(lines)


def bars(values: Sequence[float | None], full: float) -> str:
    """One character a value; `full` is a full one."""
    return "".join(_bar(value, full) for value in values)


def _bar(value: float | None, full: float) -> str:
    if value is None:
        return NOTHING
    if value > full * 1.001:
        return OVER
    return LEVELS[min(int(value / full * len(LEVELS)), len(LEVELS) - 1)]


def _line(label: str, columns: str) -> str:
    return f"{label:<{LABEL_CELLS}}{columns}".rstrip()


def _names(summary: Summary) -> str:
    """Each phase's name at its first second, cut to its length."""
    cells = [max(round(phase.seconds), 1) for phase in summary.phases]
    return "".join(f"{phase.name[: width - 1]:<{width}}" for phase, width in zip(summary.phases, cells, strict=True))


def _loads(summary: Summary) -> str:
    highest = max(max(phase.begin, phase.end) for phase in summary.phases)
    levels: list[float | None] = []
    for phase in summary.phases:
        count = max(round(phase.seconds), 1)
        levels += [phase.begin + (phase.end - phase.begin) * (at + 0.5) / count for at in range(count)]
    return bars(levels, highest)


def _in_time(second: Second) -> float | None:
    return second.in_time / second.sent if second.sent else None
