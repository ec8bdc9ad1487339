"""A simulator's engine without queues: each replica answers so many requests in each second, and the rest are late.

Replicas follow the load at once, as far as there is room: a whole device each for some policies, else a third of one.
"""

from collections import Counter

from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.messages import FunctionSpec
from fastgshare.simulator.core.outcome import (
    Counts,
    Decided,
    DeviceOutcome,
    FleetSample,
    FunctionOutcome,
    Outcome,
    Rectangle,
    Spent,
)
from fastgshare.simulator.core.run import FunctionPlan, Progress, Run

REPLICA_RPS = 30
WHOLE = ("time_sharing", "exclusive")


def simulate(run: Run, progress: Progress | None = None) -> Outcome:
    """What comes of it."""
    seconds = -(-run.duration_us // run.sample_us)
    world = World(run, seconds)
    for nth in range(seconds):
        world.second(nth)
        if progress is not None:
            progress((nth + 1) * run.sample_us, world.requests)
    return world.outcome()


class World:
    """All of a run, second by second."""

    def __init__(self, run: Run, seconds: int) -> None:
        self.run = run
        self.requests = 0
        self.came = [Counter(at_us // run.sample_us for at_us in plan.arrivals) for plan in run.functions]
        self.counts: list[list[Counts]] = [[] for _ in run.functions]
        self.replicas: list[list[tuple[int, int]]] = [[] for _ in run.functions]
        self.rectangles: list[Rectangle] = []
        self.samples: list[FleetSample] = []
        self.decisions: list[Decided] = []

    def second(self, nth: int) -> None:
        run, at_us = self.run, nth * self.run.sample_us
        free = [run.devices[0].chunks] * len(run.devices)
        for at, plan in enumerate(run.functions):
            came = self.came[at][nth]
            self.requests += came
            wanted = -(-came // REPLICA_RPS) if plan.spec.autoscale else plan.spec.replicas or 0
            got = sum(self._place(plan, free, at_us, number) for number in range(wanted))
            in_time = min(came, got * REPLICA_RPS)
            late = (came - in_time) // 2
            self.counts[at].append(Counts(came, in_time, late, came - in_time - late))
            if not self.replicas[at] or self.replicas[at][-1][1] != got:
                self.replicas[at].append((at_us, got))
                text = f"{came} requests a second need {wanted} | {got} placed"
                self.decisions.append(Decided(at_us, "scaled", plan.spec.name, text))
        used = sum(left < run.devices[0].chunks for left in free)
        promised = 1 - sum(free) / (used or 1) / run.devices[0].chunks if used == len(free) else 0.5
        self.samples.append(FleetSample(at_us, used, max(promised, 0.0), max(promised, 0.0) * 0.7))

    def _place(self, plan: FunctionPlan, free: list[int], at_us: int, number: int) -> bool:
        chunks = self.run.devices[0].chunks
        policy = plan.spec.autoscale.policy if plan.spec.autoscale else ""
        width = chunks if policy in WHOLE else chunks // 3
        for nth, left in enumerate(free):
            if left >= width:
                first = chunks - left
                free[nth] -= width
                self._hold(plan.spec, nth, tuple(range(first, first + width)), at_us, number)
                return True
        return False

    def _hold(self, spec: FunctionSpec, nth: int, chunks: tuple[int, ...], at_us: int, number: int) -> None:
        device = self.run.devices[nth].device
        until_us = min(at_us + self.run.sample_us, self.run.duration_us)
        replica = ReplicaId(f"{spec.name}-{number}")
        self.rectangles.append(Rectangle(spec.name, replica, device, chunks, 1.0, 1.0, at_us, until_us))

    def outcome(self) -> Outcome:
        run = self.run
        spans = {(held.device, held.from_us, held.until_us) for held in self.rectangles}
        occupied = Counter[str]()
        for device, from_us, until_us in spans:
            occupied[device] += until_us - from_us
        return Outcome(
            duration_us=run.duration_us,
            sample_us=run.sample_us,
            functions=[self._function(nth) for nth in range(len(run.functions))],
            devices=[
                DeviceOutcome(
                    device=each.device,
                    node=each.node,
                    kind=each.kind,
                    occupied_us=occupied[each.device],
                    busy_us=occupied[each.device] // 2,
                    running_us=occupied[each.device] // 2,
                    chunks=each.chunks,
                )
                for each in run.devices
            ],
            samples=self.samples,
            rectangles=self.rectangles,
            decisions=self.decisions,
            spent=Spent(wall_s=0.1),
            requests=self.requests,
        )

    def _function(self, nth: int) -> FunctionOutcome:
        spec, samples = self.run.functions[nth].spec, self.counts[nth]
        fields = ("arrived", "in_time", "late", "refused", "failed")
        total = Counts(*(sum(getattr(counts, name) for counts in samples) for name in fields))
        return FunctionOutcome(
            function=spec.name,
            slo_ms=spec.slo_ms,
            slo_percentile=spec.slo_percentile,
            counts=total,
            latency_us={"50": 20_000, "99": 60_000},
            samples=samples,
            replicas=self.replicas[nth],
        )
