"""A node on a real bus whose workers only measure: statuses, heartbeats, and answers to `MeasureRequest`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket, StorageUnavailable, ensure_storage
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.messages import (
    FunctionSpec,
    MeasureReply,
    MeasureRequest,
    Profile,
    ProfileProgress,
    ProfileRequest,
    ReplicaStatus,
)
from tests.natsd import Natsd
from tests.profiler.samples import function_spec, heartbeat, replica_status, times

HEARTBEAT_S = 0.2
PATIENCE_S = 20.0

Answering = Callable[[MeasureRequest], Awaitable[MeasureReply | None]]


async def answer_at_once(request: MeasureRequest) -> MeasureReply | None:
    """A worker without trouble."""
    return times(request.batch)


class FakeFleet:
    """What a cluster writes, as far as a profiler can see. Made by `open_fleet`."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.asked: list[MeasureRequest] = []
        self.progress: list[ProfileProgress] = []
        self._functions = Bucket(bus, subjects.FUNCTIONS, FunctionSpec)
        self._replicas = Bucket(bus, subjects.REPLICAS, ReplicaStatus)
        self._profiles = Bucket(bus, subjects.PROFILES, Profile)
        self._workers: dict[str, Subscription] = {}

    async def deploy(self, spec: FunctionSpec | None = None) -> None:
        spec = spec or function_spec()
        await self._functions.put(spec.name, spec)

    async def start_replica(self, status: ReplicaStatus | None = None, answering: Answering = answer_at_once) -> None:
        """A replica that is ready and answers measurements one at a time."""
        status = status or replica_status()

        async def on_measure(msg: Msg) -> None:
            request = decode(MeasureRequest, msg.data)
            self.asked.append(request)
            reply = await answering(request)
            if reply is not None:
                await self.bus.publish(msg.reply, encode(reply))

        self._workers[status.replica] = await self.bus.subscribe(subjects.measure(status.replica), on_measure)
        await self.bus.flush()
        await self.report(status)

    async def report(self, status: ReplicaStatus) -> None:
        await self._replicas.put(subjects.fleet_key(status.node, status.replica), status)

    async def kill_replica(self, status: ReplicaStatus | None = None) -> None:
        """The worker is gone, and then its node says so."""
        status = status or replica_status()
        await self._workers.pop(status.replica).unsubscribe()
        await self._replicas.delete(subjects.fleet_key(status.node, status.replica))

    async def ask(self, function: str = "echo", again: bool = False) -> ProfileProgress:
        payload = encode(ProfileRequest(function=function, again=again))
        subject = subjects.PROFILE_ALL.replace("*", function)
        reply = await self.bus.request(subject, payload, timeout_s=5)
        return decode(ProfileProgress, reply.data)

    async def table(self) -> Profile | None:
        """What is stored now; None also while the server is away."""
        try:
            found = await self._profiles.get(subjects.profile_key(replica_status().model_digest, "cpu"))
        except StorageUnavailable:
            return None
        return found[0] if found else None

    async def table_when(self, condition: Callable[[Profile], bool]) -> Profile:
        """The table as soon as it is as wanted."""
        with anyio.fail_after(PATIENCE_S):
            while True:
                table = await self.table()
                if table is not None and condition(table):
                    return table
                await anyio.sleep(0.02)

    async def progress_when(self, condition: Callable[[ProfileProgress], bool]) -> ProfileProgress:
        """The first report that is as wanted."""
        with anyio.fail_after(PATIENCE_S):
            while True:
                for progress in self.progress:
                    if condition(progress):
                        return progress
                await anyio.sleep(0.02)

    def batches(self) -> list[int]:
        return [request.batch for request in self.asked]

    async def on_progress(self, msg: Msg) -> None:
        self.progress.append(decode(ProfileProgress, msg.data))

    async def beat(self) -> None:
        while True:
            status = heartbeat(unix_us())
            await self.bus.publish(subjects.node_status(status.node), encode(status))
            await anyio.sleep(HEARTBEAT_S)


@asynccontextmanager
async def open_fleet(nats: Natsd) -> AsyncIterator[FakeFleet]:
    """A node that is alive, with nothing on it yet."""
    async with open_bus(BusConfig(url=nats.url, name="fake fleet")) as bus:
        await ensure_storage(bus)
        fleet = FakeFleet(bus)
        await bus.subscribe("fast.progress.*", fleet.on_progress)
        async with anyio.create_task_group() as work:
            work.start_soon(fleet.beat)
            yield fleet
            work.cancel_scope.cancel()
