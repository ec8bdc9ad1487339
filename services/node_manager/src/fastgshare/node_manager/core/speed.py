"""How long a batch takes on a share of a GPU's SMs, as a curve of few parameters, and how neighbours stretch it.

Pure: shares and sizes in, whole microseconds out, and monotone: never slower with more SMs or a smaller batch, never
faster beside neighbours. The parameters are fitted elsewhere (`devices/sim/fitting.py`); what the form was chosen by is
in `docs/decisions/0005`.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from fastgshare.shared.units import PER_MILLE, US_PER_S

WHOLE_PERCENT = 100
MAX_US = 3_600 * US_PER_S
MAX_SHARPNESS = 16.0

Chunks = tuple[int, ...]


class SpeedCurve(msgspec.Struct, frozen=True, kw_only=True):
    """Two bounds on a batch of `b` on a share `s` of the SMs (0 to 1), and how sharply one hands over to the other.

    The floor, `floor_us * (fixed + (1 - fixed) * b)`, is what more SMs do not shorten: host time, launches, kernels
    too small to fill the device; its part `fixed` does not grow with the batch. The work,
    `work_us * b / s ** scaling`, is what they do shorten, `work_us` an item's on the whole device. The time is
    `(floor ** sharpness + work ** sharpness) ** (1 / sharpness)`: the sum of both at 1, close to their maximum at 16.
    A larger batch moves the knee to more SMs, as work grows by the item and the floor by less.
    """

    floor_us: int
    work_us: int
    sharpness: float = 1.0
    scaling: float = 1.0
    fixed: float = 0.5

    def __post_init__(self) -> None:
        """Raises ValueError for parameters that describe no device."""
        for name, value, least, most in (
            ("floor_us", self.floor_us, 0, MAX_US),
            ("work_us", self.work_us, 0, MAX_US),
            ("sharpness", self.sharpness, 1.0, MAX_SHARPNESS),
            ("scaling", self.scaling, 0.0, 1.0),
            ("fixed", self.fixed, 0.0, 1.0),
        ):
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}, expected {least} to {most}")
        if self.floor_us + self.work_us == 0:
            raise ValueError("floor_us and work_us are both 0, expected at least one above 0")

    def batch_us(self, sm_percent: float, batch: int) -> int:
        """Microseconds, at least 1, for `batch` items on `sm_percent` of the SMs (above 0, at most 100).

        Raises:
            ValueError: a share or size outside those bounds.
        """
        if not 0 < sm_percent <= WHOLE_PERCENT:
            raise ValueError(f"sm_percent is {sm_percent}, expected above 0 and at most {WHOLE_PERCENT}")
        if batch < 1:
            raise ValueError(f"batch is {batch}, expected at least 1")
        floor_us = self.floor_us * (self.fixed + (1 - self.fixed) * batch)
        work_us = self.work_us * batch * (WHOLE_PERCENT / sm_percent) ** self.scaling
        return max(round(_joined(floor_us, work_us, self.sharpness)), 1)


class Contention(msgspec.Struct, frozen=True, kw_only=True):
    """Chunks are a replica's own; L2 and memory bandwidth are the whole device's.

    A batch is stretched by `stretch_permille` of its time if all the rest of the device is at work beside it, and in
    proportion if less of it is. The default is an assumption between measured cases: see `docs/decisions/0005`.
    """

    stretch_permille: int = 250

    def __post_init__(self) -> None:
        """Raises ValueError for a stretch below 0."""
        if self.stretch_permille < 0:
            raise ValueError(f"stretch_permille is {self.stretch_permille}, expected at least 0")

    def stretched_us(self, alone_us: int, others_percent: float) -> int:
        """What takes `alone_us` alone, while others run on `others_percent` (0 to 100) of the SMs."""
        others = min(max(others_percent, 0.0), WHOLE_PERCENT) / WHOLE_PERCENT
        return alone_us + round(alone_us * self.stretch_permille * others / PER_MILLE)


class Portion(NamedTuple):
    """What a batch has of a device's SMs, and on how many others run that it does not run on, in percent."""

    own_percent: float
    others_percent: float


def portion(mine: Chunks, others: Iterable[Chunks], chunks: int) -> Portion:
    """Shares out a device of `chunks` chunks: one that several run on is shared equally among them.

    Tokens keep running replicas off each other's chunks; sharing is for emulating what happens without them.
    """
    on_chunk = dict.fromkeys(mine, 1)
    elsewhere = set()
    for other in others:
        for chunk in other:
            if chunk in on_chunk:
                on_chunk[chunk] += 1
            else:
                elsewhere.add(chunk)
    own = sum(1 / count for count in on_chunk.values())
    return Portion(WHOLE_PERCENT * own / chunks, WHOLE_PERCENT * len(elsewhere) / chunks)


def emulated_us(curve: SpeedCurve, contention: Contention, held: Portion, batch: int) -> int:
    """Microseconds for `batch` items on what they have of the device, beside what else runs there."""
    return contention.stretched_us(curve.batch_us(held.own_percent, batch), held.others_percent)


def _joined(one: float, other: float, sharpness: float) -> float:
    high, low = max(one, other), min(one, other)
    return high * float((1 + (low / high) ** sharpness) ** (1 / sharpness))  # in this order nothing overflows
