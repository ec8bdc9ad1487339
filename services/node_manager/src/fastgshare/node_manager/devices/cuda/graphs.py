"""What is captured ahead: for one session, a program for each batch size of a ladder in each place it computes.

A graph's shapes are fixed, so a batch runs in the next larger one, its unused rows zero. It also computes on the SMs it
was captured on wherever it is launched, so another set of chunks means another capture. Capturing is done by one
thread of the process at a time, largest batch first: the smaller ones then fit into memory the first one took.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from fastgshare.node_manager.devices.cuda.ports import ANY_SHAPE, Program
from fastgshare.node_manager.devices.ports import ModelInfo

# Held for a whole bring-up, whose memory is measured, and by whatever else takes or gives back much of the device's
# memory beside it: weights that came meanwhile would count as the session's own, and refuse it.
CAPTURE = threading.RLock()


def ladder(max_batch: int) -> tuple[int, ...]:
    """Batch sizes to capture, rising: powers of two up to `max_batch`, which is always there itself."""
    rungs = [1]
    while rungs[-1] * 2 < max_batch:
        rungs.append(rungs[-1] * 2)
    if max_batch > rungs[-1]:
        rungs.append(max_batch)
    return tuple(rungs)


def rung_for(rungs: tuple[int, ...], rows: int) -> int | None:
    """The smallest rung that holds `rows`; None: none does."""
    return next((rung for rung in rungs if rung >= rows), None)


def capture_plan(info: ModelInfo, max_batch: int, can_capture: bool) -> tuple[int, ...]:
    """The programs a session needs, rising. ANY_SHAPE alone: shapes vary in more than rows, so nothing is captured.

    A model without a batch axis has one shape, its own, and stands here as a batch of one.
    """
    tensors = (*info.inputs, *info.outputs)
    inner = [spec.shape[1:] if info.is_batched else spec.shape for spec in tensors]
    if not can_capture or any(length < 0 for shape in inner for length in shape):
        return (ANY_SHAPE,)
    return ladder(max_batch) if info.is_batched else (1,)


@dataclass(slots=True)
class Programs:
    """The programs of one session in one place, by rung."""

    by_rung: dict[int, Program]

    def for_rows(self, rows: int) -> Program | None:
        """The program that runs `rows` rows; None: there is none for so many."""
        if ANY_SHAPE in self.by_rung:
            return self.by_rung[ANY_SHAPE]
        rung = rung_for(tuple(sorted(self.by_rung)), rows)
        return None if rung is None else self.by_rung[rung]

    def close(self) -> None:
        """Free them all."""
        for program in self.by_rung.values():
            program.close()
        self.by_rung.clear()


def prepare(plan: tuple[int, ...], make: Callable[[int], Program]) -> Programs:
    """Make every program of a plan, largest first; all or none. The caller holds CAPTURE."""
    programs = Programs({})
    try:
        for rung in sorted(plan, reverse=True):
            programs.by_rung[rung] = make(rung)
    except BaseException:
        programs.close()
        raise
    return programs
