"""A cluster on a real bus as far as a profiler sees it: heartbeats, a scheduler that lends, workers that measure."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from fastgshare.profiler.core.plan import Setting
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket, StorageUnavailable
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.ids import FunctionName, ReplicaId
from fastgshare.shared.messages import (
    FunctionSpec,
    LoanReply,
    LoanState,
    LoanWish,
    MeasureReply,
    MeasureRequest,
    Profile,
    ProfileProgress,
    ProfileRequest,
    ReplicaState,
    ReplicaStatus,
)
from fastgshare.shared.storage import ensure_storage
from tests.natsd import Natsd
from tests.profiler.samples import DEVICE, DIGEST, function_spec, heartbeat, replica_status, setting_asked, times

HEARTBEAT_S = 0.2
PATIENCE_S = 20.0

Answering = Callable[[MeasureRequest], Awaitable[MeasureReply | None]]


async def answer_at_once(request: MeasureRequest) -> MeasureReply | None:
    """A worker without trouble."""
    return times(request)


class FakeFleet:
    """What a cluster writes. One slice is lent at a time; `refusal` is why none is. Made by `open_fleet`."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.asked: list[MeasureRequest] = []
        self.wishes: list[LoanWish] = []
        self.progress: list[ProfileProgress] = []
        self.answering: Answering = answer_at_once
        self.refusal: LoanReply | None = None
        self.lent: ReplicaStatus | None = None
        self.lent_state = ReplicaState.READY
        self._loans = 0
        self._functions = Bucket(bus, subjects.FUNCTIONS, FunctionSpec)
        self._replicas = Bucket(bus, subjects.REPLICAS, ReplicaStatus)
        self._profiles = Bucket(bus, subjects.PROFILES, Profile)
        self._worker: Subscription | None = None
        self._inbox, self._wished = anyio.create_memory_object_stream[Msg](1_000)

    async def deploy(self, spec: FunctionSpec | None = None) -> None:
        spec = spec or function_spec()
        await self._functions.put(spec.name, spec)

    async def report(self, status: ReplicaStatus) -> None:
        await self._replicas.put(subjects.fleet_key(status.node, status.replica), status)

    async def on_wish(self, msg: Msg) -> None:
        self._inbox.send_nowait(msg)

    async def serve_wishes(self) -> None:
        """The scheduler."""
        with self._inbox, self._wished:
            async for msg in self._wished:
                wish = decode(LoanWish, msg.data)
                self.wishes.append(wish)
                await self.bus.publish(msg.reply, encode(await self._answer(wish)))

    async def _answer(self, wish: LoanWish) -> LoanReply:
        if self.lent is not None and wish.over and wish.loan == self.lent.loan:
            await self.take_back()
        if wish.over:
            return LoanReply(loan=wish.loan, state=LoanState.WAITING, reason="it is over")
        if self.refusal is not None:
            return LoanReply(loan=wish.loan, state=self.refusal.state, reason=self.refusal.reason)
        if self.lent is None:
            await self._lend(wish)
        if self.lent is not None and self.lent.loan == wish.loan:
            return LoanReply(loan=wish.loan, state=LoanState.LENT, replica=self.lent.replica)
        return LoanReply(loan=wish.loan, state=LoanState.WAITING, reason=f"{DEVICE} has another loan")

    async def _lend(self, wish: LoanWish) -> None:
        found = await self._functions.get(wish.function)
        assert found is not None
        self._loans += 1
        replica = ReplicaId(f"{wish.function}-loan-1-{self._loans}")

        async def on_measure(msg: Msg) -> None:
            request = decode(MeasureRequest, msg.data)
            self.asked.append(request)
            reply = await self.answering(request)
            if reply is not None:
                await self.bus.publish(msg.reply, encode(reply))

        self._worker = await self.bus.subscribe(subjects.measure(replica), on_measure)
        await self.bus.flush()
        self.lent = replica_status(
            replica, wish.function, loan=wish.loan, max_batch=found[0].max_batch, state=self.lent_state
        )
        await self.report(self.lent)

    async def take_back(self) -> None:
        """The slice is nobody's any more, and its replica is gone."""
        lent, self.lent = self.lent, None
        if self._worker is not None:
            await self._worker.unsubscribe()
            self._worker = None
        if lent is not None:
            await self._replicas.delete(subjects.fleet_key(lent.node, lent.replica))

    async def ask(self, function: str = "echo", again: bool = False, grid: bool = False) -> ProfileProgress:
        payload = encode(ProfileRequest(function=function, again=again, grid=grid))
        subject = subjects.PROFILE_ALL.replace("*", function)
        reply = await self.bus.request(subject, payload, timeout_s=5)
        return decode(ProfileProgress, reply.data)

    async def table(self) -> Profile | None:
        """What is stored now; None also while the server is away."""
        try:
            found = await self._profiles.get(subjects.profile_key(DIGEST, "cpu"))
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

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once it holds."""
        with anyio.fail_after(PATIENCE_S):
            while not condition():
                await anyio.sleep(0.01)

    def settings(self) -> list[Setting]:
        return [setting_asked(request) for request in self.asked]

    async def on_progress(self, msg: Msg) -> None:
        self.progress.append(decode(ProfileProgress, msg.data))

    async def beat(self) -> None:
        while True:
            status = heartbeat(unix_us())
            await self.bus.publish(subjects.node_status(status.node), encode(status))
            await anyio.sleep(HEARTBEAT_S)


@asynccontextmanager
async def open_fleet(nats: Natsd) -> AsyncIterator[FakeFleet]:
    """A node that is alive and a scheduler that lends, with nothing deployed yet."""
    async with open_bus(BusConfig(url=nats.url, name="fake fleet")) as bus:
        await ensure_storage(bus)
        fleet = FakeFleet(bus)
        await bus.subscribe(subjects.profile_progress(FunctionName("*")), fleet.on_progress)
        await bus.subscribe(subjects.LOAN, fleet.on_wish)
        async with anyio.create_task_group() as work:
            work.start_soon(fleet.beat)
            work.start_soon(fleet.serve_wishes)
            yield fleet
            work.cancel_scope.cancel()
