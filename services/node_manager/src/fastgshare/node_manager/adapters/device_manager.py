"""One device of the node: its worker process kept alive, its core fed, the core's commands carried out."""

import logging
import os
from collections import Counter
from collections.abc import Iterable

import anyio
import msgspec

from fastgshare.node_manager.adapters.status_writer import StatusWriter
from fastgshare.node_manager.config import DeviceSettings, NodeConfig, WorkerConfig
from fastgshare.node_manager.core.books import DeviceBooks
from fastgshare.node_manager.core.quota_error import QuotaErrors
from fastgshare.node_manager.core.reconcile import (
    Command,
    DeviceCore,
    DrainReplica,
    ForgetStatus,
    LoadReplica,
    PublishStatus,
    RefusePlacement,
    ReplicaReport,
    ResizeReplica,
)
from fastgshare.node_manager.devices.catalog import DeviceName
from fastgshare.node_manager.devices.cpu import WORKER_ENV
from fastgshare.node_manager.ipc.child import Child, ending, open_child
from fastgshare.node_manager.ipc.frames import ChannelClosed, Dialect
from fastgshare.node_manager.protocol import (
    DeviceFaulted,
    Drain,
    FromWorker,
    Load,
    LogLine,
    Pulse,
    ReplicaChanged,
    ReplicaDrained,
    Resize,
    Shutdown,
    ToWorker,
    WorkerReady,
)
from fastgshare.shared.bus import Bus
from fastgshare.shared.clock import monotonic_us, unix_us
from fastgshare.shared.config import to_env
from fastgshare.shared.ids import DeviceId, HostId, ReplicaId
from fastgshare.shared.messages import DeviceStatus, Placement
from fastgshare.shared.typed import msgpack_decoder
from fastgshare.shared.units import US_PER_MS

RESTART_FIRST_S = 0.1
RESTART_MAX_S = 5.0
STABLE_US = 10_000_000

logger = logging.getLogger(__name__)

WorkerChild = Child[ToWorker, FromWorker]


class DeviceManager:
    """Owns one device of this node."""

    def __init__(
        self,
        config: NodeConfig,
        device_id: DeviceId,
        name: DeviceName,
        host: HostId,
        bus: Bus,
        statuses: StatusWriter,
    ) -> None:
        self.device_id = device_id
        self.core = DeviceCore(host=host)
        self._config = config
        self._name = name
        self._bus = bus
        self._statuses = statuses
        self._child: WorkerChild | None = None
        self._pulse = Pulse({}, 0.0)
        self._pulse_us = 0
        self._reason = "starting"
        self._fault = ""
        self._memory_mib = 0
        self.sms = 0
        self.restarts = 0
        self.books = DeviceBooks(unix_us())
        self.quotas = QuotaErrors()
        self._dropped: Counter[str] = Counter()

    # Facts

    def placed(self, placement: Placement) -> None:
        """A placement for this device was written."""
        self._carry_out(self.core.placed(placement, unix_us()))

    def unplaced(self, replica: ReplicaId) -> None:
        """A placement was removed."""
        self._carry_out(self.core.unplaced(replica))

    def status(self) -> DeviceStatus | None:
        """The device's part of the heartbeat; None while nothing is known of it yet."""
        if not self.core.chunks and not self._fault:
            return None
        pulse, is_up = self._pulse, self.core.worker_ready
        return DeviceStatus(
            device=self.device_id,
            kind=self.kind,
            chunks=self.core.chunks,
            memory_mib=self._memory_mib,
            healthy=is_up and pulse.healthy,
            reason=pulse.reason if is_up else self._reason,
            depth=pulse.depth,
            worker_pid=self._child.pid if self._child is not None else 0,
            rss_mib=pulse.rss_mib,
            used_mib=pulse.used_mib,
            models=pulse.models,
            use=pulse.use,
            gauges=pulse.gauges,
            running=pulse.running,
            sms=self.sms,
        )

    def dropped(self, signal: str) -> int:
        """What its workers, one after the other, let go of their telemetry of this signal."""
        return self._dropped[signal] + self._pulse.dropped.get(signal, 0)

    @property
    def kind(self) -> str:
        """The key of its profiles, once its worker has told."""
        return self.core.device_kind or self._name.kind

    # The worker process

    async def run(self) -> None:
        """Keep a worker running until `stop` is called."""
        wait_s = RESTART_FIRST_S
        while not self._is_stopping():
            started_us = monotonic_us()
            returncode = await self._one_life()
            if self._is_stopping():
                return
            self._reason = self._fault or f"its worker ended with {ending(returncode)}"
            logger.warning("device %s: %s", self.device_id, self._reason)
            self._carry_out(self.core.worker_died(self._reason, unix_us()))
            self.restarts += 1
            await self._bus.tell("worker_died", text=self._reason, device=self.device_id, returncode=returncode)
            stable = monotonic_us() - started_us > STABLE_US
            wait_s = RESTART_FIRST_S if stable else min(wait_s * 2, RESTART_MAX_S)
            await anyio.sleep(wait_s)

    async def stop(self) -> None:
        """Drain the replicas and end the worker; whatever is left after the grace is killed by `run`'s end."""
        self.core.stopping = True
        child = self._child
        if child is None:
            return
        self._send(Shutdown())
        with anyio.move_on_after(self._config.drain_s):
            await child.wait()
        child.kill()

    def _is_stopping(self) -> bool:
        return self.core.stopping

    async def _one_life(self) -> int:
        dialect: Dialect[ToWorker, FromWorker] = Dialect(msgpack_decoder(FromWorker))
        env = {**os.environ, **to_env(self._worker_config()), **WORKER_ENV}
        async with open_child("fastgshare.node_manager.worker", dialect, self._on_line, env=env) as child:
            self._child = child
            self._pulse_us = monotonic_us()
            self._fault = ""
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._watch_pulse, child)
                    await self._listen(child)
                    tasks.cancel_scope.cancel()
                with anyio.move_on_after(self._config.drain_s):
                    await child.wait()
            finally:
                self._child = None
                self._forget_pulse()
        return child.returncode if child.returncode is not None else 1

    async def _listen(self, child: WorkerChild) -> None:
        while (message := await child.channel.receive()) is not None:
            now_us = unix_us()
            match message:
                case WorkerReady(incarnation, kind, chunks, memory_mib, sms):
                    self._memory_mib, self.sms = memory_mib, sms
                    self.books.away(now_us)
                    self._carry_out(self.core.worker_started(incarnation, kind, chunks, now_us))
                case DeviceFaulted(reason):
                    self._fault = reason
                case ReplicaChanged():
                    await self._on_change(message, now_us)
                case ReplicaDrained(replica):
                    self._carry_out(self.core.drained(replica, now_us))
                case Pulse():
                    self._pulse, self._pulse_us = message, monotonic_us()
                    self._keep_books(message, now_us)
                case LogLine(function, replica, text):
                    await self._bus.tell("log", function, text, replica=replica)

    def _forget_pulse(self) -> None:
        """A worker is gone; its counts stay, its successor begins anew."""
        self._dropped.update(self._pulse.dropped)
        self._pulse = Pulse({}, 0.0)

    def _keep_books(self, pulse: Pulse, now_us: int) -> None:
        statuses = self.core.actual.values()
        self.books.spent(pulse.spent, self.sms, self.core.chunks)
        self.books.held(statuses, now_us)
        slices = {status.replica: status.slice for status in statuses if status.slice is not None and not status.loan}
        self.quotas.heard(pulse.use, slices)

    async def _on_change(self, change: ReplicaChanged, now_us: int) -> None:
        report = ReplicaReport(
            change.replica,
            change.state,
            change.reason,
            change.signature,
            change.max_batch,
            change.memory_mib,
            change.load_ms,
            change.weights_mib,
            change.weights_reused,
            change.placement,
            change.transient,
        )
        self._carry_out(self.core.reported(report, now_us))
        status = self.core.actual.get(change.replica)
        if status is not None:
            kind = f"replica_{change.state.value}"
            await self._bus.tell(kind, status.function, change.reason, replica=change.replica)

    async def _watch_pulse(self, child: WorkerChild) -> None:
        """A worker that says nothing for too long hangs: end it, a new one takes over."""
        limit_us = self._config.worker_silent_ms * US_PER_MS
        while True:
            await anyio.sleep(1)
            if monotonic_us() - self._pulse_us > limit_us:
                logger.warning("device %s: worker silent, killed", self.device_id)
                child.kill()

    def _worker_config(self) -> WorkerConfig:
        own = msgspec.structs.asdict(self._config)
        shared = {field.name: own[field.name] for field in msgspec.structs.fields(DeviceSettings)}
        return WorkerConfig(
            nats_url=self._config.nats_url,
            nats_password_file=self._config.nats_password_file,
            device_id=self.device_id,
            device=self._name.kind,
            device_index=self._name.index,
            window_ms=self._config.window_ms,
            status_interval_ms=self._config.status_interval_ms,
            log_level=self._config.log_level,
            **shared,
        )

    # Commands

    def _carry_out(self, commands: Iterable[Command]) -> None:
        for command in commands:
            match command:
                case LoadReplica(placement):
                    self._send(Load(placement))
                case ResizeReplica(placement):
                    self._send(Resize(placement))
                case DrainReplica(replica):
                    self._send(Drain(replica))
                case PublishStatus(status):
                    self._statuses.put(status)
                case ForgetStatus(replica):
                    self._statuses.forget(replica)
                case RefusePlacement(placement, reason):
                    logger.warning("placement %s refused: %s", placement.replica, reason)

    def _send(self, message: ToWorker) -> None:
        if self._child is None:
            return  # its successor gets everything that is desired
        try:
            self._child.channel.send_nowait(message)
        except ChannelClosed:
            logger.info("device %s: worker is gone, %s not sent", self.device_id, type(message).__name__)

    def _on_line(self, line: str) -> None:
        logger.info("%s | %s", self.device_id, line)
