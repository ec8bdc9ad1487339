"""Wiring: buckets and subjects feed the core, its commands go to claim sessions and to the outbox."""

import os
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from importlib.metadata import version

import anyio
import anyio.abc
import msgspec
from anyio.abc import TaskGroup

from fastgshare.profiler.adapters.claim_session import ClaimSession
from fastgshare.profiler.adapters.metrics import ProfilerMetrics
from fastgshare.profiler.adapters.outbox import Outbox
from fastgshare.profiler.config import ProfilerConfig
from fastgshare.profiler.core.arrivals import Luck
from fastgshare.profiler.core.commands import Claim, Command, Measure, Release, StoreTable, Wish
from fastgshare.profiler.core.facts import ClaimEnded, Fact, Ticked
from fastgshare.profiler.core.keys import TableKey
from fastgshare.profiler.core.measuring import Limits
from fastgshare.profiler.core.profiler import Profiler
from fastgshare.profiler.handlers import Handlers
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Mirror
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.config import check_name, host_name
from fastgshare.shared.messages import FunctionSpec, NodeStatus, Profile, ReplicaStatus
from fastgshare.shared.minting import new_incarnation
from fastgshare.shared.service import answer_pings, stop_signal
from fastgshare.shared.storage import ensure_storage
from fastgshare.shared.telemetry.process import ProcessMetrics
from fastgshare.shared.telemetry.resources import resource_attributes
from fastgshare.shared.telemetry.service import Metrics
from fastgshare.shared.units import s_to_us

SERVICE = "profiler"
VERSION = version("fastgshare-profiler")
MS_PER_S = 1_000


async def serve(config: ProfilerConfig) -> None:
    """Run one profiler until it is told to stop; what it was measuring is continued by the next."""
    config = msgspec.structs.replace(config, instance=config.instance or host_name())
    check_name("instance", config.instance)
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(
            open_bus(BusConfig(config.nats_url, config.instance, password_file=config.nats_password_file))
        )
        async with anyio.create_task_group() as work:
            await work.start(run_profiler, bus, config)
            await stop_signal()
            work.cancel_scope.cancel()


async def run_profiler(
    bus: Bus, config: ProfilerConfig, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Profile on `bus` until cancelled; started once everything there is to know has been read."""
    await ensure_storage(bus)
    async with anyio.create_task_group() as work:
        engine = Engine(bus, config, work)
        handlers = Handlers(bus, engine.learn, engine.outbox.send)
        work.start_soon(engine.outbox.run)
        work.start_soon(handlers.serve_requests)
        tables = await _mirror(bus, handlers, work)
        await bus.listen(subjects.NODE_STATUS_ALL, NodeStatus, handlers.node_heard)
        await bus.subscribe(subjects.PROFILE_ALL, handlers.on_request, queue=subjects.PROFILE_QUEUE)
        await bus.flush()  # who is told that this profiler is ready may ask it at once
        work.start_soon(_tick, engine, config.tick_ms)
        own = ProfilerMetrics(lambda: tables.values, lambda: engine.sessions)
        engine.watch(own.carried_out)
        metrics = Metrics(ProcessMetrics(SERVICE, config.instance, VERSION, bus).families, own.families)
        endpoints = await metrics.start_page(work, config.metrics_host, config.metrics_port)
        metrics.start_otlp(work, resource_attributes(SERVICE, config.instance, VERSION, os.environ))
        await work.start(answer_pings, bus, SERVICE, config.instance, endpoints)
        task_status.started()


class Engine:
    """The core with hands: takes facts in one at a time and sees to what follows from each."""

    def __init__(self, bus: Bus, config: ProfilerConfig, work: TaskGroup) -> None:
        self.outbox = Outbox(bus)
        self._bus = bus
        self._instance = config.instance
        self._work = work
        self._sessions: dict[TableKey, ClaimSession] = {}
        self._watch: Callable[[Command], None] | None = None
        limits = Limits(
            budget_ms=config.budget_ms,
            open_ms=config.open_ms,
            slowest_ms=config.slowest_ms,
            precision=config.precision,
            ready_wait_us=s_to_us(config.ready_wait_s),
            patience_us=s_to_us(config.patience_s),
        )
        self._profiler = Profiler(limits, Luck(lambda seed: random.Random(seed).expovariate))

    @property
    def sessions(self) -> int:
        """How many claims it works on."""
        return len(self._sessions)

    def watch(self, watch: Callable[[Command], None]) -> None:
        """Tell `watch` of every command from now on."""
        self._watch = watch

    def learn(self, fact: Fact) -> None:
        """Take one fact in."""
        for command in self._profiler.step(unix_us(), fact):
            self._carry_out(command)

    def _carry_out(self, command: Command) -> None:
        if self._watch is not None:
            self._watch(command)
        if isinstance(command, Claim):
            holder = f"{self._instance}-{new_incarnation()}"
            self._sessions[command.key] = ClaimSession(self._bus, command, holder, self.learn)
            self._work.start_soon(self._run_session, command.key)
        elif isinstance(command, Wish | StoreTable | Measure | Release):
            session = self._sessions.get(command.key)
            if session is not None:  # else the claim's end is being told this moment
                session.submit(command)
        else:
            self.outbox.send(command)

    async def _run_session(self, key: TableKey) -> None:
        await self._sessions[key].run()
        del self._sessions[key]
        self.learn(ClaimEnded(key))


async def _mirror(bus: Bus, handlers: Handlers, work: TaskGroup) -> Mirror[Profile]:
    functions = Mirror(bus, subjects.FUNCTIONS, FunctionSpec, handlers.function_changed)
    replicas = Mirror(bus, subjects.REPLICAS, ReplicaStatus, handlers.replica_changed)
    tables = Mirror(bus, subjects.PROFILES, Profile, handlers.table_changed)
    await work.start(tables.run)
    await work.start(functions.run)
    await work.start(replicas.run)
    return tables


async def _tick(engine: Engine, tick_ms: int) -> None:
    while True:
        engine.learn(Ticked())
        await anyio.sleep(tick_ms / MS_PER_S)
