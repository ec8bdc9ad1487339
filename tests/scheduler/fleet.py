"""Nodes that are only talk: they beat, and report what is placed on them as loading, then ready or failed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from inspect import isawaitable

import anyio

from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket, Mirror, StorageUnavailable
from fastgshare.shared.bus import Bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import encode
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, HostId, NodeId
from fastgshare.shared.messages import (
    Autoscale,
    DeviceStatus,
    FunctionSpec,
    ModelRef,
    NodeStatus,
    Placement,
    ReplicaState,
    ReplicaStatus,
    Slice,
)
from fastgshare.shared.minting import new_incarnation

BEAT_MS = 100
BROKEN = "broken"
PATIENCE_S = 25.0


def function(
    name: str = "f",
    generation: int = 1,
    replicas: int = 1,
    source: str = "",
    autoscale: Autoscale | None = None,
) -> FunctionSpec:
    """A definition as it stands in the bucket; with `source` BROKEN its replicas fail."""
    return FunctionSpec(
        name=FunctionName(name),
        model=ModelRef(digest=Digest("ab" * 32), size_bytes=1, source=source),
        generation=generation,
        replicas=None if autoscale else replicas,
        autoscale=autoscale,
        slice=Slice(sm_partition=25, quota_request=0.2, gpu_mem_mib=100),
    )


async def until(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Return once `holds`, which may have to ask the bus."""
    with anyio.fail_after(PATIENCE_S):
        while True:
            answer = holds()
            if await answer if isawaitable(answer) else answer:
                return
            await anyio.sleep(0.02)


class TalkingNode:
    """One node with one device of four chunks. Made by `open_node`; leaves its keys behind, as a killed one does."""

    def __init__(self, bus: Bus, name: str) -> None:
        self.node = NodeId(name)
        self.placements: list[Placement] = []
        """Everything that was ever placed here, in order."""
        self._bus = bus
        self._incarnation = new_incarnation()
        self._bucket = Bucket(bus, subjects.REPLICAS, ReplicaStatus)
        self._mirror = Mirror(bus, subjects.PLACEMENTS, Placement, self._on_change, subjects.node_keys(self.node))
        self._changes: dict[str, Placement | None] = {}
        self._changed = anyio.Event()

    @property
    def standing(self) -> int:
        """How many placements stand here, as far as it has heard."""
        return len(self._mirror.values)

    async def run(self) -> None:
        """Live until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._beat)
            tasks.start_soon(self._report)
            tasks.start_soon(self._mirror.run)

    async def _beat(self) -> None:
        device = DeviceStatus(device=DeviceId(f"{self.node}-cpu0"), kind="cpu", chunks=4, memory_mib=1000)
        while True:
            status = NodeStatus(
                node=self.node,
                host=HostId("host"),
                incarnation=self._incarnation,
                at_us=unix_us(),
                devices=(device,),
                interval_ms=BEAT_MS,
            )
            if self._bus.is_connected:
                await self._bus.publish(subjects.node_status(self.node), encode(status))
            await anyio.sleep(BEAT_MS / 1000)

    def _on_change(self, key: str, placement: Placement | None) -> None:
        if placement is not None:
            self.placements.append(placement)
        self._changes[key] = placement
        self._changed.set()

    async def _report(self) -> None:
        while True:
            await self._changed.wait()
            self._changed = anyio.Event()
            while self._changes:
                key = next(iter(self._changes))
                placement = self._changes.pop(key)
                if placement is None:
                    await self._bucket.delete(key)
                    continue
                await self._bucket.put(key, self._status(placement, ReplicaState.LOADING))
                broken = placement.function.model.source == BROKEN
                outcome = ReplicaState.FAILED if broken else ReplicaState.READY
                await self._bucket.put(key, self._status(placement, outcome))

    def _status(self, placement: Placement, state: ReplicaState) -> ReplicaStatus:
        return ReplicaStatus(
            replica=placement.replica,
            function=placement.function.name,
            generation=placement.function.generation,
            node=self.node,
            device=placement.device,
            host=HostId("host"),
            incarnation=self._incarnation,
            state=state,
            device_kind="cpu",
            model_digest=placement.function.model.digest,
            chunks=placement.chunks,
            reason="it is broken" if state is ReplicaState.FAILED else "",
            epoch=placement.epoch,
            loan=placement.loan,
        )


@asynccontextmanager
async def open_node(bus: Bus, name: str) -> AsyncIterator[TalkingNode]:
    """A node that lives inside the block and falls silent at its end."""
    node = TalkingNode(bus, name)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(node.run)
        yield node
        tasks.cancel_scope.cancel()


class Observatory:
    """What stands in the buckets now."""

    def __init__(self, bus: Bus) -> None:
        self.functions = Bucket(bus, subjects.FUNCTIONS, FunctionSpec)
        self._placements = Bucket(bus, subjects.PLACEMENTS, Placement)
        self._replicas = Bucket(bus, subjects.REPLICAS, ReplicaStatus)

    async def deploy(self, spec: FunctionSpec) -> None:
        """Define a function, or define it anew; a bus that is away for a moment is asked again."""

        async def is_written() -> bool:
            try:
                await self.functions.put(spec.name, spec)
            except StorageUnavailable:
                return False
            return True

        await until(is_written)

    async def placed(self, name: str = "f") -> list[Placement]:
        """The placements of a function, but for those on loan."""
        found = await self._placements.list()
        return [p for p in found.values() if p.function.name == name and not p.loan]

    async def ready(self, name: str = "f", generation: int = 1, nodes: str = "") -> int:
        """Its replicas of a generation that are placed and ready, on nodes with names among these letters."""
        placed = {placement.replica for placement in await self.placed(name)}
        statuses = (await self._replicas.list()).values()
        return sum(
            status.replica in placed
            and status.generation == generation
            and status.state is ReplicaState.READY
            and (not nodes or status.node in nodes)
            for status in statuses
        )

    async def until_ready(self, count: int, name: str = "f", generation: int = 1, nodes: str = "") -> None:
        """Wait for so many ready replicas."""

        async def enough() -> bool:
            return await self.ready(name, generation, nodes) == count

        await until(enough)

    async def until_generations(self, *expected: int, name: str = "f") -> None:
        """Wait until the placements of a function are of exactly these generations."""

        async def as_expected() -> bool:
            return sorted(p.function.generation for p in await self.placed(name)) == sorted(expected)

        await until(as_expected)
