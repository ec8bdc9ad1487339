"""What no device can have done, however odd it is: a row's figures held against each other.

Pure. Rows are values by the names of fields, so that points of every kind of file are held to the same.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise

from fastgshare.shared.messages import ProfileState
from fastgshare.shared.units import US_PER_S

MOST_SPEEDUP = 3.0
"""How far a throughput may be above what quota, batch and device time allow: batches overlap, and clocks differ."""

_ORDERED = (
    ("latency_p50_us", "latency_p95_us", "latency_p99_us"),
    ("p50_us", "p95_us", "p99_us"),
)


def nonsense(values: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """The field and what is wrong with it, each that is; figures that are not there, or 0, say nothing."""
    device_us, rps = values.get("device_us", 0), values.get("throughput_rps", 0)
    if device_us > 0:
        error = values.get("throughput_error", 0)
        most = MOST_SPEEDUP * (1 + error) * values["quota"] * values["batch"] * US_PER_S / device_us
        if rps > most:
            yield (
                "throughput_rps",
                f"{rps:g} is too much for batches that take {device_us:g} us, expected at most {most:g}",
            )
    for names in _ORDERED:
        known = [name for name in names if values.get(name, 0) > 0]
        for low, high in pairwise(known):
            if values[low] > values[high]:
                text = f"{values[high]:g} is below the {_percentile(low)}, {values[low]:g}, expected no less"
                yield high, text


def state_problem(state: str) -> str:
    """Why a table that says it is in this state is not taken; empty for one that is."""
    if state == ProfileState.COMPLETE:
        return ""
    if state in list(ProfileState):
        return f"it is {state}, and only {ProfileState.COMPLETE} tables are taken"
    known = [ProfileState.COMPLETE, *(one for one in ProfileState if one is not ProfileState.COMPLETE)]
    return f"'{state}' is no state, expected {ProfileState.COMPLETE} (of {', '.join(known)})"


def _percentile(field: str) -> str:
    return next(part for part in field.split("_") if part.startswith("p"))
