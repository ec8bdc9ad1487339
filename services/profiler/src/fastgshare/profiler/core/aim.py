"""What is due for one table: by itself, and on which axes.

A table is due while it is missing or being measured. A complete one is due when functions take larger batches, or have
more time, than those it was completed for, and when it is from before tables had axes, or has none that can be used. A
failed one is left alone, and so is one that was cut short by the time somebody gave: whoever asks goes on with those.
An imported one is taken as it is, until it drifts or somebody wants it measured again or every point of it.
"""

from dataclasses import dataclass
from itertools import pairwise

from msgspec.structs import replace

from fastgshare.profiler.core.fleet import Want
from fastgshare.profiler.core.plan import Plan, axes_for
from fastgshare.profiler.core.points import is_earlier
from fastgshare.shared.messages import Profile, ProfileAxes, ProfileState

TERMINAL = (ProfileState.COMPLETE, ProfileState.FAILED)
SPENT = "the time given for measuring was spent"


@dataclass(frozen=True, slots=True)
class Aim:
    """What a table shall become. `renews`: what it has now counts for nothing."""

    want: Want
    plan: Plan
    renews: bool = False

    def begun(self) -> "Aim":
        """The aim once renewing has begun: from then on the table itself tells what counts."""
        return Aim(self.want, self.plan)

    def whole_grid(self) -> "Aim":
        """The aim with every point of the axes."""
        return (
            self
            if self.plan.is_grid
            else Aim(self.want, Plan(self.plan.axes, self.plan.objective_us, is_grid=True), self.renews)
        )


def is_terminal(table: Profile | None) -> bool:
    """Whether nothing more comes of a table by itself."""
    return table is not None and table.state in TERMINAL


def is_due(want: Want, table: Profile | None) -> bool:
    """Whether a table as it is stored is not what is wanted."""
    if table is None or table.state is ProfileState.MEASURING:
        return True
    if table.state is ProfileState.FAILED:
        return False
    if table.source:
        return False
    if not _has_axes(table):
        return True
    assert table.axes is not None
    largest = table.axes.batches[-1]
    if want.max_batch > max(table.max_batch, largest):
        return True
    # Batches that outlast the objective are left out; one that allows for more may want them.
    return largest < min(want.max_batch, table.max_batch) and want.objective_us > table.objective_us


def is_cut_short(table: Profile) -> bool:
    """Whether a complete table would have more points, had there been more time."""
    return SPENT in table.reason


def is_renewing(table: Profile | None) -> bool:
    """Whether a table holds points that are about to be measured anew."""
    return table is not None and any(is_earlier(point) for point in table.points)


def aim_for(want: Want, table: Profile | None, is_grid: bool, renews: bool) -> Aim:
    """What `table` shall become."""
    renews = renews or (table is not None and not _has_axes(table))
    if table is None or table.axes is None or renews or is_renewing(table):
        axes = axes_for(want.chunks, want.max_batch)
    else:
        axes = with_batches(table.axes, want.max_batch)
    is_grid = is_grid or (table is not None and table.is_grid and not renews)
    return Aim(want, Plan(axes, want.objective_us, is_grid), renews)


def _has_axes(table: Profile) -> bool:
    """Whether its axes can be measured along: tables are stored by others too."""
    axes = table.axes
    return axes is not None and all(
        values and values[0] > 0 and all(low < high for low, high in pairwise(values))
        for values in (axes.sm_partitions, axes.quotas, axes.batches)
    )


def with_batches(axes: ProfileAxes, max_batch: int) -> ProfileAxes:
    """The axes with batches up to `max_batch` and none beyond."""
    batches = {batch for batch in axes.batches if batch <= max_batch} | set(axes_for(1, max_batch).batches)
    return replace(axes, batches=tuple(sorted(batches)))
