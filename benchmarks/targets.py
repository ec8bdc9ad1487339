"""What benchmarks hold their figures to: a relation and a bound by key, and which of them were missed. Pure."""

import os
import sys
from collections.abc import Mapping
from typing import Literal, NamedTuple

from fastgshare.node_manager.devices.cpu import cpu_kind

AT_MOST: Literal["at most"] = "at most"
AT_LEAST: Literal["at least"] = "at least"


class Target(NamedTuple):
    """A bound on a figure, and on which side of it the figure should lie."""

    relation: Literal["at most", "at least"]
    bound: float

    def __str__(self) -> str:
        return f"{self.relation} {self.bound:g}"

    def worse(self, one: float, other: float) -> float:
        """Of two figures the one that is nearer to missing."""
        return max(one, other) if self.relation == AT_MOST else min(one, other)

    def is_missed_by(self, value: float) -> bool:
        """Whether `value` lies on the wrong side; what is no number misses."""
        return not (value <= self.bound if self.relation == AT_MOST else value >= self.bound)


Targets = Mapping[str, Target]


def at_most(bound: float) -> Target:
    """Lower is better."""
    return Target(AT_MOST, bound)


def at_least(bound: float) -> Target:
    """Higher is better."""
    return Target(AT_LEAST, bound)


def misses(targets: Targets, figures: Mapping[str, object]) -> list[str]:
    """The targets that these figures miss, in words.

    Raises:
        KeyError, TypeError: a figure is missing, or is no number.
    """
    found = []
    for key, target in targets.items():
        value = figures[key]
        if not isinstance(value, int | float):
            raise TypeError(f"{key} is {value!r}, expected a number")
        if target.is_missed_by(value):
            found.append(f"{key} {value:g}, expected {target}")
    return found


def shown(value: object) -> str:
    """A figure in a table."""
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)


def machine() -> dict[str, object]:
    """Where figures were measured."""
    return {"cpu": cpu_kind(), "cores": len(os.sched_getaffinity(0)), "python": sys.version.split()[0]}
