"""How far a deployed generation is, from what nodes report. Pure."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from fastgshare.shared.functions import keeps_slice
from fastgshare.shared.messages import FunctionSpec, ReplicaState, ReplicaStatus


class Ready(NamedTuple):
    """As many replicas of the generation are ready as were asked for."""

    replicas: int


class Broken(NamedTuple):
    """The generation cannot run, and another try would end the same. `serving` is another that does, or 0."""

    reason: str
    serving: int


class Waiting(NamedTuple):
    """Not yet: what is there, in words."""

    seen: str


def wanted_replicas(spec: FunctionSpec) -> int:
    """How many replicas a function has when nobody calls it."""
    if spec.autoscale is not None:
        return spec.autoscale.min
    return spec.replicas or 0


def judge(spec: FunctionSpec, replicas: Iterable[ReplicaStatus]) -> Ready | Broken | Waiting:
    """Where `spec`'s generation stands."""
    own = [status for status in replicas if is_replica_of(spec.name, status)]
    mine = [status for status in own if status.generation == spec.generation]
    ready = sum(status.state is ReplicaState.READY and _holds(status, spec) for status in mine)
    wanted = wanted_replicas(spec)
    if ready >= wanted:
        return Ready(ready)
    serving = serving_generation(own)
    if serving > spec.generation:
        return Broken(f"generation {serving} has replaced it", serving)
    final = [status for status in mine if status.state is ReplicaState.FAILED and not status.transient]
    if final:
        return Broken(max(final, key=lambda status: status.since_us).reason or "no reason given", serving)
    told = _told(spec, mine)
    return Waiting("; ".join(part for part in (f"{ready} of {wanted} replicas ready", told) if part))


def is_replica_of(function: str, status: ReplicaStatus) -> bool:
    """Whether a status is of a replica that serves this function; one on loan to the profiler does not."""
    return status.function == function and not status.loan


def serving_generation(replicas: Iterable[ReplicaStatus]) -> int:
    """The newest generation with a ready replica; 0 when none has one."""
    return max((status.generation for status in replicas if status.state is ReplicaState.READY), default=0)


def _holds(status: ReplicaStatus, spec: FunctionSpec) -> bool:
    """Whether a replica has what the definition gives it, if that gives it anything; quotas may have changed."""
    return status.slice is None or not keeps_slice(spec) or status.slice == spec.slice


def _told(spec: FunctionSpec, replicas: list[ReplicaStatus]) -> str:
    if not replicas:
        return "no node has taken one up yet"
    resizing = [status for status in replicas if status.state is ReplicaState.READY and not _holds(status, spec)]
    if resizing:
        notes = sorted({status.note for status in resizing if status.note})
        return "; ".join([f"{len(resizing)} ready with the slice of before", *notes])
    counts = Counter(status.state.value for status in replicas if status.state is not ReplicaState.READY)
    told = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    reasons = sorted({status.reason for status in replicas if status.reason})
    return f"{told} ({'; '.join(reasons)})".strip() if reasons else told
