"""Tables that no longer tell the truth: when to measure one anew, and when not to believe that it would help.

A replica says in each heartbeat how long its recent batches took over what its table says. More than 20 % off to the
same side in five heartbeats in a row over five seconds, and the table is wanted anew. When the new table agrees with
the old, something beside the model slows it (neighbours, clocks), and measuring again would say the same: the
table is left in peace for ten minutes, and twice as long each time, up to six hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from fastgshare.profiler.core.keys import TableKey
from fastgshare.profiler.core.points import setting_of
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.messages import Profile, ProfilePoint, ProfileState
from fastgshare.shared.units import US_PER_S, us_to_s

TOLERANCE = 0.20
LEAST_HEARTBEATS = 5
LEAST_SPAN_US = 5 * US_PER_S
FIRST_PEACE_US = 10 * 60 * US_PER_S
LONGEST_PEACE_US = 6 * 3600 * US_PER_S


@dataclass(slots=True)
class _Streak:
    is_slower: bool
    since_us: int
    heartbeats: int = 1


@dataclass(slots=True)
class _Watch:
    """One key: its last complete table, the present streaks, and why it is wanted anew, if it is."""

    table: Profile | None = None
    streaks: dict[ReplicaId, _Streak] = field(default_factory=dict)
    wanted: str = ""
    wanted_by: ReplicaId | None = None
    is_renewing: bool = False
    not_before_us: int = 0
    agreements: int = 0


class Drift:
    """What every replica said of its table lately. Several profilers that hear the same come to the same."""

    def __init__(self) -> None:
        self._watches: dict[TableKey, _Watch] = {}

    def heard(self, key: TableKey, replica: ReplicaId, drift: float, now_us: int) -> None:
        """A replica's word on its table in one heartbeat; 0: it could not tell."""
        watch = self._watches.get(key)
        if watch is None or watch.table is None:
            return
        if abs(drift - 1) <= TOLERANCE or drift <= 0:
            watch.streaks.pop(replica, None)
            if drift > 0 and watch.wanted_by == replica and not watch.is_renewing:
                watch.wanted, watch.wanted_by = "", None
            return
        streak = watch.streaks.get(replica)
        if streak is None or streak.is_slower != (drift > 1):
            watch.streaks[replica] = _Streak(drift > 1, now_us)
            return
        streak.heartbeats += 1
        is_long = streak.heartbeats >= LEAST_HEARTBEATS and now_us - streak.since_us >= LEAST_SPAN_US
        if is_long and not watch.wanted and now_us >= watch.not_before_us:
            watch.wanted, watch.wanted_by = f"batches of {replica} take {drift:.2f} times what the table says", replica

    def gone(self, key: TableKey, replica: ReplicaId) -> None:
        """A replica is no more, and what it wanted with it."""
        watch = self._watches.get(key)
        if watch is None:
            return
        watch.streaks.pop(replica, None)
        if watch.wanted_by == replica and not watch.is_renewing:
            watch.wanted, watch.wanted_by = "", None

    def why(self, key: TableKey) -> str:
        """Why a complete table shall be measured anew; empty where it need not."""
        watch = self._watches.get(key)
        return watch.wanted if watch is not None and watch.table is not None else ""

    def table_changed(self, key: TableKey, table: Profile | None, now_us: int) -> str:
        """A table as it is now, whoever measured it; if this ends a renewal for drift, what came of it, for people."""
        watch = self._watches.setdefault(key, _Watch())
        watch.is_renewing = table is not None and table.state is ProfileState.MEASURING
        if table is None or table.state is ProfileState.FAILED:
            watch.table, watch.wanted, watch.wanted_by = None, "", None
            return ""
        old = watch.table
        if table.state is not ProfileState.COMPLETE or (old and old.table_version >= table.table_version):
            return ""
        was_off = bool(watch.wanted or watch.streaks)  # another profiler may have wanted it a heartbeat earlier
        watch.wanted, watch.wanted_by, watch.table = "", None, table
        watch.streaks.clear()
        return self._judge(watch, old, table, now_us) if was_off and old else ""

    def _judge(self, watch: _Watch, old: Profile, new: Profile, now_us: int) -> str:
        apart = _apart(old.points, new.points)
        if apart > TOLERANCE:
            watch.agreements = 0
            return f"the table was measured anew and differs by {apart:.0%} from the one before"
        peace_us = min(FIRST_PEACE_US << min(watch.agreements, 10), LONGEST_PEACE_US)
        watch.agreements += 1
        watch.not_before_us = now_us + peace_us
        return (
            f"the table was measured anew and agrees within {apart:.0%} with the one before: something else slows or "
            f"speeds its batches; not measured again for that within {us_to_s(peace_us) / 60:.0f} min"
        )


def _apart(old: Sequence[ProfilePoint], new: Sequence[ProfilePoint]) -> float:
    """The median relative difference of batch times over the settings both have; without any they do not agree."""
    before = {setting_of(point): point.device_us for point in old if point.device_us > 0}
    ratios = [abs(point.device_us / before[setting] - 1) for point in new if (setting := setting_of(point)) in before]
    return median(ratios) if ratios else 1.0
