"""Functions as consoles show them: definition, replicas, traffic, and why one is short of what it should be. Pure."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from fastgshare.shared.functions import FIXED, keeps_slice
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import Event, FunctionSpec, Profile, ProfileState, ReplicaState, ReplicaStatus
from fastgshare.shared.overview.gateways import Gateways
from fastgshare.shared.overview.traffic import Traffic
from fastgshare.shared.overview.view import FunctionView

P50, P99 = 0.5, 0.99
ROOM, OBJECTIVE = "room", "objective"
_TOLD_BY = {
    "no_room": (ROOM, True),
    "replica_placed": (ROOM, False),
    "objective_infeasible": (OBJECTIVE, True),
    "objective_feasible": (OBJECTIVE, False),
}
"""What stands in a function's way, by the event that tells of it or takes it back."""
_REMOVED = "function_removed"


@dataclass(slots=True)
class Function:
    """What is known of one function."""

    spec: FunctionSpec
    traffic: Traffic = field(default_factory=Traffic)


class Hindrances:
    """What was last told to stand in functions' ways and was not taken back."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], tuple[int, str]] = {}

    def heard(self, event: Event) -> None:
        """Take in an event, in any order. What was told of a function that was removed since is of another one."""
        if not event.function:
            return
        if event.kind == _REMOVED:
            for matter in (ROOM, OBJECTIVE):
                self._hear(event, matter, "")
        elif event.kind in _TOLD_BY:
            matter, stands = _TOLD_BY[event.kind]
            self._hear(event, matter, event.text if stands else "")

    def of(self, spec: FunctionSpec, is_short: bool) -> list[str]:
        """Those of one function, in words; room is of interest only to one that is short of replicas."""
        room = self._text(spec.name, ROOM) if is_short else ""
        objective = "" if keeps_slice(spec) else self._text(spec.name, OBJECTIVE)
        return [text for text in (f"no room for more: {room}" if room else "", objective) if text]

    def forget(self, function: FunctionName) -> None:
        """It was removed."""
        self._told = {key: told for key, told in self._told.items() if key[0] != function}

    def keep(self, functions: Container[str], since_us: int) -> None:
        """Let go of what was told before `since_us` of others than these: a function may yet be told of."""
        self._told = {key: told for key, told in self._told.items() if key[0] in functions or told[0] >= since_us}

    def _hear(self, event: Event, matter: str, text: str) -> None:
        key = (event.function, matter)
        if event.at_us >= self._told.get(key, (0, ""))[0]:
            self._told[key] = (event.at_us, text)

    def _text(self, function: str, matter: str) -> str:
        return self._told.get((function, matter), (0, ""))[1]


def view(
    known: Function,
    replicas: Sequence[ReplicaStatus],
    profiles: Sequence[Profile],
    gateways: Gateways,
    hindrances: Hindrances,
    now_us: int,
) -> FunctionView:
    """One function, from its own replicas and its model's tables."""
    spec, traffic = known.spec, known.traffic
    ready = [status.generation for status in replicas if status.state is ReplicaState.READY]
    current = sum(generation == spec.generation for generation in ready)
    least, most = _wanted(spec)
    missed = traffic.missed_share(now_us)
    rate, goodput = traffic.rates(gateways.began_us, now_us)
    p50_ms, p99_ms = traffic.quantiles_ms(now_us, (P50, P99))
    outstanding, held = gateways.in_hand(spec.name, now_us)
    rate_spark, missed_spark = traffic.sparks(now_us)
    return FunctionView(
        function=spec.name,
        generation=spec.generation,
        serving=max(ready, default=0),
        slo_ms=spec.slo_ms,
        slo_percentile=spec.slo_percentile,
        policy=(spec.autoscale.policy if spec.autoscale is not None else "") or FIXED,
        wanted_min=least,
        wanted_max=most,
        ready=current,
        replicas=len(replicas),
        model_digest=spec.model.digest,
        attainment={name: None if share is None else round(1 - share, 6) for name, share in missed.items()},
        burn={name: _burn(share, spec.slo_percentile) for name, share in missed.items()},
        rate=round(rate, 3),
        goodput=round(goodput, 3),
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        outstanding=outstanding,
        held=held,
        refused=dict(sorted(traffic.refused.items())),
        rate_spark=rate_spark,
        missed_spark=missed_spark,
        profiles={table.device_kind: _table(table) for table in profiles},
        reasons=(
            *sorted({status.reason for status in replicas if status.reason}),
            *hindrances.of(spec, current < max(least, min(1, held))),
        ),
    )


def _wanted(spec: FunctionSpec) -> tuple[int, int]:
    if spec.autoscale is not None:
        return spec.autoscale.min, spec.autoscale.max
    return spec.replicas or 0, spec.replicas or 0


def _burn(missed: float | None, percentile: float) -> float | None:
    """None also for an objective that allows no miss, and so has no budget."""
    allowed = 1 - percentile / 100
    return None if missed is None or allowed < 1e-9 else round(missed / allowed, 3)


def _table(table: Profile) -> str:
    if table.state is ProfileState.MEASURING:
        return f"measuring, {len(table.points)} point{'' if len(table.points) == 1 else 's'}"
    return f"failed: {table.reason}" if table.state is ProfileState.FAILED else table.state.value
