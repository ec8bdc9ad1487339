"""How long one decision takes in a large fleet, and how that grows with the fleet.

`Scheduler.step` is given a realistic stream: every node's heartbeat twice a second, reports of replicas as they load,
gateways' counts twice a second with demand that rises and falls for some functions, ticks when the core asks for them,
and now and then a node that falls silent and comes back; with `blocked`, also functions that find no room. Only the
steps are timed, one by one, by the processor time they take (they wait for nothing, so on an idle core that is the time
they take).
"""

import gc
import heapq
import random
from collections import defaultdict
from dataclasses import dataclass, field
from time import thread_time_ns
from typing import Any

from fastgshare.scheduler.core.books import permille
from fastgshare.scheduler.core.commands import Command, MoveReplica, PlaceReplica, RemoveReplica, ResizeReplica
from fastgshare.scheduler.core.events import (
    Device,
    Event,
    FunctionDefined,
    LeadershipWon,
    LoadReported,
    NodeSeen,
    PlacementGone,
    PlacementKnown,
    ReplicaGone,
    ReplicaReported,
    Ticked,
)
from fastgshare.scheduler.core.scheduler import Scheduler
from fastgshare.scheduler.core.settings import Settings
from fastgshare.scheduler.core.windows import width, window
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, GatewayId, HostId, NodeId, ReplicaId
from fastgshare.shared.messages import (
    Autoscale,
    FunctionLoad,
    FunctionSpec,
    ModelRef,
    Placement,
    ReplicaState,
    ReplicaStatus,
    Slice,
)
from fastgshare.shared.units import PER_MILLE, US_PER_S

CHUNKS = 16
MEMORY_MIB = 16_000
BEAT_US = US_PER_S // 2
WITHOUT_ROOM = ((100, 0.95), (94, 1.0), (100, 0.9))
"""Shapes of functions that wait for room: none of the devices has so much left."""
SHAPES = ((12, 0.4), (24, 0.4), (50, 0.6), (12, 0.2), (24, 0.3), (36, 0.5))
GATEWAYS = 2


@dataclass(slots=True)
class Fleet:
    """Time, a stream of events, and the scheduler that is timed on them. `due` is ordered by time, then number."""

    devices: int
    replicas: int
    functions: int
    source: random.Random
    blocked: int = 0
    core: Scheduler = field(default_factory=lambda: Scheduler(Settings()))
    now_us: int = 1_000 * US_PER_S
    due: list[tuple[int, int, Event]] = field(default_factory=list)
    numbered: int = 0
    wake_at_us: int | None = None
    arrived: dict[FunctionName, int] = field(default_factory=dict)
    placements: dict[str, Placement] = field(default_factory=dict)
    down_until_us: dict[NodeId, int] = field(default_factory=dict)
    took_us: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    timed: bool = False

    def later(self, wait_us: int, event: Event) -> None:
        """Have this happen in so long."""
        self.numbered += 1
        heapq.heappush(self.due, (self.now_us + wait_us, self.numbered, event))

    def tell(self, event: Event) -> None:
        """One step, and what the world makes of its commands."""
        began_ns = thread_time_ns()
        decision = self.core.step(self.now_us, event)
        took_us = (thread_time_ns() - began_ns) / 1000
        if self.timed:
            self.took_us[type(event).__name__].append(took_us)
        self.wake_at_us = decision.wake_at_us
        for command in decision.commands:
            self._carry_out(command)

    def run(self, until_us: int) -> None:
        """Everything that is due until then, and the ticks between."""
        while True:
            at_us = self.due[0][0] if self.due else until_us
            if self.wake_at_us is not None and self.wake_at_us <= min(at_us, until_us):
                self.now_us = max(self.now_us, self.wake_at_us)
                self.tell(Ticked())
            elif at_us > until_us or not self.due:
                self.now_us = until_us
                return
            else:
                _, _, event = heapq.heappop(self.due)
                self.now_us = at_us
                self._happens(event)

    def start(self) -> None:
        """A leader takes over: nodes, functions and ready replicas stand; the stream begins and it settles."""
        for number in range(self.devices):
            self._happens(_seen(number, "i1"))
        for number in range(self.functions):
            self.tell(FunctionDefined(self._spec(number)))
        for number in range(self.blocked):
            self.tell(FunctionDefined(_without_room(number)))
        for placement in self._standing():
            self.placements[placement.replica] = placement
            self.tell(PlacementKnown(placement))
            self.tell(_status(placement, ReplicaState.READY))
        self.tell(LeadershipWon(2))
        for number in range(GATEWAYS):
            self.later(BEAT_US * number // GATEWAYS, self._load(number))
        self.run(self.now_us + US_PER_S)

    def _standing(self) -> list[Placement]:
        """The replicas an earlier leader placed, dealt out to the devices in turn: first fit on each."""
        found = []
        loads = [[0] * CHUNKS for _ in range(self.devices)]
        for number in range(self.replicas):
            spec = self._spec(number % self.functions)
            wide, share = width(spec.slice.sm_partition, CHUNKS), permille(spec.slice.quota_request)
            for step in range(self.devices):
                at = (number + step) % self.devices
                starts = range(CHUNKS - wide + 1)
                first = next((c for c in starts if max(loads[at][c : c + wide]) + share <= PER_MILLE), None)
                if first is None:
                    continue
                for chunk in range(first, first + wide):
                    loads[at][chunk] += share
                node, replica = NodeId(f"n{at:05d}"), ReplicaId(f"{spec.name}-g1-1-{number}")
                device = DeviceId(f"{node}-gpu0")
                found.append(
                    Placement(
                        replica=replica, node=node, device=device, chunks=window(first, wide), epoch=1, function=spec
                    )
                )
                break
        return found

    def lose_node(self, away_us: int) -> None:
        """A node falls silent and comes back."""
        node = NodeId(f"n{self.source.randrange(self.devices):05d}")
        self.down_until_us[node] = self.now_us + away_us

    def _happens(self, event: Event) -> None:
        if isinstance(event, NodeSeen):
            self.later(BEAT_US, event)
            if self.now_us < self.down_until_us.get(event.node, 0):
                return
        if isinstance(event, LoadReported):
            number = int(event.gateway[2:])
            event = self._load(number)
            self.later(BEAT_US, event)
        self.tell(event)

    def _spec(self, number: int) -> FunctionSpec:
        percent, quota = SHAPES[number % len(SHAPES)]
        each = self.replicas // self.functions
        scales = number % 2 == 0
        return FunctionSpec(
            name=FunctionName(f"f{number:04d}"),
            model=ModelRef(digest=Digest(f"m{number % 100}"), size_bytes=1),
            replicas=None if scales else each,
            autoscale=Autoscale(min=each - 1, max=each + 3) if scales else None,
            slice=Slice(sm_partition=percent, quota_request=quota / 2, gpu_mem_mib=500),
        )

    def _load(self, gateway: int) -> LoadReported:
        """Counts of all functions; one in ten of those that scale is asked for much more for a while."""
        counts = {}
        for number in range(self.functions):
            name = FunctionName(f"f{number:04d}")
            surge = number % 2 == 0 and (number // 2 + self.now_us // (5 * US_PER_S)) % 10 == 0
            self.arrived[name] = self.arrived.get(name, 0) + (2000 if surge else 5)
            done = self.arrived[name]
            counts[name] = FunctionLoad(
                arrived=done, answered=done, execute_us=done * 20_000, outstanding=500 if surge else 3
            )
        return LoadReported(GatewayId(f"gw{gateway}"), "g1", counts)

    def _carry_out(self, command: Command) -> None:
        if isinstance(command, PlaceReplica):
            self.placements[command.placement.replica] = command.placement
            self.later(1_000, PlacementKnown(command.placement))
            self.later(20_000, _status(command.placement, ReplicaState.LOADING))
            self.later(900_000, _status(command.placement, ReplicaState.READY))
        elif isinstance(command, ResizeReplica | MoveReplica):
            self.placements[command.placement.replica] = command.placement
            self.later(1_000, PlacementKnown(command.placement))
        elif isinstance(command, RemoveReplica):
            self.placements.pop(command.replica, None)
            self.later(1_000, PlacementGone(command.node, command.replica))
            self.later(1_000_000, ReplicaGone(command.node, command.replica))


def _without_room(number: int) -> FunctionSpec:
    percent, quota = WITHOUT_ROOM[number % len(WITHOUT_ROOM)]
    return FunctionSpec(
        name=FunctionName(f"waits{number:03d}"),
        model=ModelRef(digest=Digest(f"w{number}"), size_bytes=1),
        replicas=1,
        slice=Slice(sm_partition=percent, quota_request=quota - number / 1000, gpu_mem_mib=500),
    )


def _seen(number: int, incarnation: str) -> NodeSeen:
    node = NodeId(f"n{number:05d}")
    return NodeSeen(node, incarnation, (Device(DeviceId(f"{node}-gpu0"), "sim", CHUNKS, MEMORY_MIB),))


def _status(placement: Placement, state: ReplicaState) -> ReplicaReported:
    return ReplicaReported(
        ReplicaStatus(
            replica=placement.replica,
            function=placement.function.name,
            generation=placement.function.generation,
            node=placement.node,
            device=placement.device,
            host=HostId("host"),
            incarnation="i1",
            state=state,
            device_kind="sim",
            model_digest=placement.function.model.digest,
            chunks=placement.chunks,
            epoch=placement.epoch,
        )
    )


def decision_ms(
    devices: int = 1000,
    replicas: int = 10_000,
    functions: int = 500,
    seconds: float = 6.0,
    seed: int = 1,
    blocked: int = 0,
) -> dict[str, Any]:
    """p50, p99 and maximum of a step in milliseconds over `seconds` of the stream, in all and by kind of event.

    `p99` counts every step alike, and most are heartbeats; `p99_working` leaves out those. `blocked` more functions
    find no room: `waiting` is how many of them still wait at the end.
    """
    fleet = Fleet(devices, replicas, functions, random.Random(seed), blocked)
    fleet.start()
    gc.collect()
    gc.disable()
    fleet.timed = True
    end_us = fleet.now_us + round(seconds * US_PER_S)
    try:
        while fleet.now_us < end_us:
            fleet.lose_node(away_us=4 * US_PER_S)
            fleet.run(fleet.now_us + US_PER_S)
    finally:
        gc.enable()
    every = [took for times in fleet.took_us.values() for took in times]
    working = [took for kind, times in fleet.took_us.items() if kind != "NodeSeen" for took in times]
    return {
        "devices": devices,
        "replicas": len(fleet.placements),
        "functions": functions,
        "waiting": sum(bool(one.blocked) for one in fleet.core.state.functions.values()),
        "steps": len(every),
        **_figures(every),
        "p99_working": _figures(working)["p99"],
        "by_event": {kind: _figures(times) for kind, times in sorted(fleet.took_us.items())},
    }


def growth(seconds: float = 3.0) -> list[dict[str, Any]]:
    """`decision_ms` at 100, 1,000 and 10,000 devices with ten replicas on each."""
    return [
        decision_ms(devices, 10 * devices, max(5, min(500, devices // 2)), seconds) for devices in (100, 1000, 10_000)
    ]


def _figures(times_us: list[float]) -> dict[str, float]:
    ordered = sorted(times_us)
    if not ordered:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0, "count": 0}
    last = len(ordered) - 1
    return {
        "p50": round(ordered[last // 2] / 1000, 4),
        "p99": round(ordered[round(last * 0.99)] / 1000, 4),
        "max": round(ordered[-1] / 1000, 4),
        "count": len(ordered),
    }
