"""Wires one scheduler: the bus feeds the inbox, the inbox the core, the core's commands the writer."""

import os
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import anyio
import anyio.abc
import msgspec

from fastgshare.scheduler.adapters.inbox import Inbox
from fastgshare.scheduler.adapters.journal import Journal
from fastgshare.scheduler.adapters.leadership import Leadership
from fastgshare.scheduler.adapters.metrics import SchedulerMetrics
from fastgshare.scheduler.adapters.observer import Observer
from fastgshare.scheduler.adapters.wishes import Wishes
from fastgshare.scheduler.adapters.writer import Writer
from fastgshare.scheduler.config import SchedulerConfig
from fastgshare.scheduler.core.commands import Decision
from fastgshare.scheduler.core.events import Event, Ticked
from fastgshare.scheduler.core.scheduler import Scheduler
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket, StorageUnavailable
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.clock import monotonic_us, unix_us
from fastgshare.shared.config import check_name, host_name, variable_for
from fastgshare.shared.errors import InvalidConfig
from fastgshare.shared.functions import POLICIES
from fastgshare.shared.minting import new_incarnation
from fastgshare.shared.service import answer_pings, stop_signal
from fastgshare.shared.storage import ensure_storage
from fastgshare.shared.telemetry.process import ProcessMetrics
from fastgshare.shared.telemetry.resources import resource_attributes
from fastgshare.shared.telemetry.service import Metrics
from fastgshare.shared.units import BYTES_PER_MIB, us_to_s

SERVICE = "scheduler"
VERSION = version("fastgshare-scheduler")
SWEPT = (subjects.PLACEMENTS, subjects.REPLICAS)
"""Buckets whose keys come and go, and never come again."""


async def serve(config: SchedulerConfig) -> None:
    """Run one scheduler until it is told to stop; if it leads, another can take over at once."""
    config = msgspec.structs.replace(config, instance=config.instance or host_name())
    check_name("instance", config.instance)
    if config.policy not in POLICIES:
        expected = f"one of {', '.join(POLICIES)}"
        raise InvalidConfig(setting=variable_for("policy"), value=config.policy, expected=expected)
    async with (
        open_bus(BusConfig(config.nats_url, config.instance, password_file=config.nats_password_file)) as bus,
        anyio.create_task_group() as work,
    ):
        await work.start(run_scheduler, bus, config)
        await stop_signal()
        work.cancel_scope.cancel()


async def run_scheduler(
    bus: Bus, config: SchedulerConfig, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Schedule on `bus` until cancelled; started once everything there is to know has been read."""
    await ensure_storage(bus)
    inbox = Inbox()
    observer = Observer(bus, inbox)
    leadership = Leadership(bus, f"{config.instance}-{new_incarnation()}", observer, inbox)
    writer = Writer(bus, leadership.leads, inbox.append)
    wishes = Wishes(bus, inbox, lambda: leadership.is_leading)
    core = Scheduler(config.settings())
    journal = Journal(core, Path(config.journal_dir), config.instance, config.journal_mib * BYTES_PER_MIB)
    decisions = SchedulerMetrics(leadership, journal)
    engine = Engine(core, inbox, writer, journal, decisions)
    metrics = Metrics(ProcessMetrics(SERVICE, config.instance, VERSION, bus).families, decisions.families)
    async with anyio.create_task_group() as work:
        if config.journal_dir:
            journal.begin()
            work.start_soon(journal.run)
        await observer.start(work)
        await wishes.start()
        work.start_soon(engine.run)
        work.start_soon(writer.run)
        work.start_soon(leadership.run)
        work.start_soon(sweep, bus, config.sweep_s)
        endpoints = await metrics.start_page(work, config.metrics_host, config.metrics_port)
        metrics.start_otlp(work, resource_attributes(SERVICE, config.instance, VERSION, os.environ))
        await work.start(answer_pings, bus, SERVICE, config.instance, endpoints)
        task_status.started()


class Engine:
    """The core on real time: fed from the inbox, ticked when it asks, its commands handed to the writer.

    Whatever it steps through goes into the journal.
    """

    def __init__(
        self, core: Scheduler, inbox: Inbox, writer: Writer, journal: Journal, metrics: SchedulerMetrics
    ) -> None:
        self._core = core
        self._inbox = inbox
        self._writer = writer
        self._journal = journal
        self._metrics = metrics
        self._wake_at_us: int | None = None

    async def run(self) -> None:
        """Decide until cancelled."""
        while True:
            with anyio.move_on_after(self._patience_s()):
                await self._inbox.wait()
            for event in self._inbox.take():
                self._step(event)
            if self._wake_at_us is not None and monotonic_us() >= self._wake_at_us:
                self._step(Ticked())

    def _step(self, event: Event) -> None:
        now_us = monotonic_us()
        try:
            decision = self._core.step(now_us, event)
        except Exception:
            self._journal.record(now_us, event, Decision())  # what it stumbled over is the last entry
            raise
        self._metrics.stepped(decision, monotonic_us() - now_us)
        self._wake_at_us = decision.wake_at_us
        self._writer.submit(decision.commands)
        self._journal.record(now_us, event, decision)

    def _patience_s(self) -> float | None:
        if self._wake_at_us is None:
            return None
        return max(0.0, us_to_s(self._wake_at_us - monotonic_us()))


async def sweep(bus: Bus, every_s: float) -> None:
    """Forget old deletions now and then. Every scheduler may do this: it changes nothing that anybody reads."""
    while True:
        await anyio.sleep(every_s)
        now = datetime.fromtimestamp(us_to_s(unix_us()), UTC)
        for name in SWEPT:
            try:
                await Bucket(bus, name, msgspec.Struct).sweep(timedelta(seconds=every_s), now)
            except StorageUnavailable:
                continue  # next time
