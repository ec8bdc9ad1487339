"""Who may run on one chunk, the slow and obvious way: every decision works everybody's standing out from all that ever
happened. `TokenBook` has to make the same grants."""

from dataclasses import dataclass

from fastgshare.node_manager.core.timetable import Share
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.units import PER_MILLE


@dataclass
class Standing:
    """What a replica is owed since when, from when on it may have spare time, and how much it had."""

    share: Share
    owed_us: int
    clear_us: int
    spare_us: int = 0
    debt_run_us: int = 0  # since its share last changed
    spare_run_us: int = 0
    has_work: bool = False


@dataclass(frozen=True)
class Took:
    """It has this share from now on."""

    now_us: int
    replica: ReplicaId
    share: Share


@dataclass(frozen=True)
class Left:
    """It is gone."""

    now_us: int
    replica: ReplicaId


@dataclass(frozen=True)
class Began:
    """It had no work, and has some."""

    now_us: int
    replica: ReplicaId


@dataclass(frozen=True)
class Started:
    """It got the chunk."""

    now_us: int
    replica: ReplicaId
    by_debt: bool


@dataclass(frozen=True)
class Ended:
    """Its batch is over; `has_more`: it asks for the next."""

    now_us: int
    replica: ReplicaId
    started: Started
    used_us: int
    has_more: bool


@dataclass(frozen=True)
class Withdrew:
    """It has no work after all."""

    now_us: int
    replica: ReplicaId


Deed = Took | Left | Began | Started | Ended | Withdrew


def standings(deeds: list[Deed], window_us: int) -> dict[ReplicaId, Standing]:
    """Everybody's standing after all of this."""
    now: dict[ReplicaId, Standing] = {}
    level_us = 0  # of spare time, that those with work have had at least
    for deed in deeds:
        if isinstance(deed, (Took, Left)):
            if isinstance(deed, Left):
                del now[deed.replica]
            elif deed.replica not in now:
                now[deed.replica] = Standing(deed.share, deed.now_us, deed.now_us)
            else:
                mine = now[deed.replica]
                mine.share, mine.debt_run_us, mine.spare_run_us = deed.share, 0, 0
            level_us = min((each.spare_us for each in now.values() if each.has_work), default=0)
            continue
        mine = now[deed.replica]
        match deed:
            case Began(now_us):
                mine.has_work = True
                mine.owed_us = max(mine.owed_us, now_us - window_us // 10)
                mine.clear_us = max(mine.clear_us, now_us - window_us // 10)
                mine.spare_us = max(mine.spare_us, level_us)
            case Started(now_us, _, by_debt):
                if by_debt and mine.owed_us < now_us - 2 * window_us:
                    lost_us = now_us - 2 * window_us - mine.owed_us
                    for each in now.values():
                        each.owed_us += lost_us if each.has_work else 0
                if not by_debt:
                    level_us = max(level_us, mine.spare_us)
            case Ended(_, _, started, used_us, has_more):
                mine.has_work = has_more
                _pay(mine, started, used_us, window_us)
            case Withdrew():
                mine.has_work = False
    return now


def choose(now: dict[ReplicaId, Standing], waiting: list[ReplicaId], now_us: int) -> tuple[ReplicaId, bool] | None:
    """Who of those that wait gets the free chunk, and whether out of what it is owed."""
    owed = [replica for replica in waiting if now[replica].owed_us <= now_us]
    if owed:
        return min(owed, key=lambda replica: now[replica].owed_us), True
    able = [
        replica
        for replica in waiting
        if now[replica].share.limit_permille > now[replica].share.request_permille and now[replica].clear_us <= now_us
    ]
    return (min(able, key=lambda replica: (now[replica].spare_us, now[replica].owed_us)), False) if able else None


def _pay(mine: Standing, started: Started, used_us: int, window_us: int) -> None:
    request, limit = mine.share.request_permille, mine.share.limit_permille
    if started.by_debt:
        before_us = mine.debt_run_us * PER_MILLE // request
        mine.debt_run_us += used_us
        mine.owed_us += mine.debt_run_us * PER_MILLE // request - before_us
        return
    mine.spare_us += used_us
    if request < limit < PER_MILLE:
        before_us = mine.spare_run_us * PER_MILLE // (limit - request)
        mine.spare_run_us += used_us
        floor_us = started.now_us - window_us // 10
        mine.clear_us = max(mine.clear_us, floor_us) + mine.spare_run_us * PER_MILLE // (limit - request) - before_us
