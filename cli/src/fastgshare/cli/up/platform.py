"""The platform as a library: `async with open_platform(UpConfig(...)) as platform`.

Inside the block everything serves and is kept running; after it nothing of it is left. Open it from the main
thread: children die with the thread that made them.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version

import anyio
import msgspec
from anyio.abc import TaskGroup

from fastgshare.cli.up import embedded
from fastgshare.cli.up.config import (
    GATEWAY,
    UpConfig,
    choose_grpc_ports,
    choose_http_ports,
    choose_metrics_ports,
    service_specs,
)
from fastgshare.cli.up.core import Policy
from fastgshare.cli.up.data_dir import Endpoints, forget_endpoints, hold_data_dir, published
from fastgshare.cli.up.logs import Logs
from fastgshare.cli.up.ports import HOST, free_port
from fastgshare.cli.up.process import ChildSpec
from fastgshare.cli.up.roll import Roll
from fastgshare.cli.up.supervisor import Report, Supervisor
from fastgshare.shared.buckets import BUS_FAULTS
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.errors import BusUnavailable
from fastgshare.shared.messages import ServiceReady
from fastgshare.shared.storage import ensure_storage, provide_storage

DISTRIBUTION = "fastgshare-cli"
BUS_NAME = "up"


class Platform:
    """A running platform.

    Children go by name: `nats`, `gateway`, `scheduler`, `profiler`, `node_manager`, `gateway-2` and so on.
    """

    def __init__(
        self,
        config: UpConfig,
        endpoints: Endpoints,
        services: list[ChildSpec],
        supervisor: Supervisor,
        roll: Roll,
    ) -> None:
        self.config = config
        self.endpoints = endpoints
        self._services = services
        self._supervisor = supervisor
        self._roll = roll

    def pid_of(self, name: str) -> int | None:
        """The process of a child, None between two lives; KeyError for no such child."""
        return self._supervisor.pid_of(name)

    def pids(self) -> dict[str, int]:
        """Every child that runs now."""
        return self._supervisor.pids()

    def kill(self, name: str) -> int:
        """SIGKILL a child; it comes back by itself, `wait_ready` tells when. The pid that was."""
        return self._supervisor.kill(name)

    async def wait_ready(self, timeout_s: float = 30.0) -> None:
        """Wait until every child serves. Raises NotReadyInTime."""
        await self._supervisor.wait_ready(timeout_s)

    async def roll_call(self, timeout_s: float = 10.0) -> dict[str, ServiceReady]:
        """Ask every service over the bus, now. Raises TimeoutError when one does not answer."""
        answers: dict[str, ServiceReady] = {}

        async def ask(spec: ChildSpec) -> None:
            pid = self._supervisor.pid_of(spec.name)
            if pid is not None:
                answers[spec.name] = await self._roll.answer_of(spec.service, pid)

        with anyio.fail_after(timeout_s):
            async with anyio.create_task_group() as asking:
                for spec in self._services:
                    asking.start_soon(ask, spec)
        return answers


def say_nothing(line: str) -> None:
    """For callers that do not care for news of restarts."""


@asynccontextmanager
async def open_platform(
    config: UpConfig, report: Report = say_nothing, hurry: anyio.Event | None = None
) -> AsyncIterator[Platform]:
    """Start everything, wait until it is ready, and stop it again: gateways first, the bus last.

    `report` gets a line whenever a child dies. Setting `hurry` kills what still runs while stopping.

    Raises:
        DataDirBusy, NatsServerMissing, BusUnavailable, ChildHopeless, NotReadyInTime: it did not come up.
    """
    config = msgspec.structs.replace(config, data_dir=config.data_dir.absolute())
    hurry = hurry or anyio.Event()
    logs = Logs(config.data_dir / "logs")
    supervisor = Supervisor(logs, report, Policy())
    with lone_exceptions(), hold_data_dir(config.data_dir):
        forget_endpoints(config.data_dir)
        logs.rotate()
        async with anyio.create_task_group() as work:
            work.start_soon(logs.keep_bounded)
            try:
                nats_url = config.nats_url or await _start_nats(config, supervisor, work)
                async with _open_bus_with_storage(config, nats_url) as bus:
                    platform = await _start_services(config, nats_url, bus, supervisor, work)
                    with published(platform.endpoints, config.data_dir):
                        yield platform
            finally:
                with anyio.CancelScope(shield=True):
                    await _stop_all(config, supervisor, hurry)
                work.cancel_scope.cancel()


async def _start_nats(config: UpConfig, supervisor: Supervisor, work: TaskGroup) -> str:
    port = free_port(config.nats_port)

    async def probe(spec: ChildSpec, pid: int) -> None:
        await embedded.listening(port)

    supervisor.start(embedded.server_spec(config.data_dir, port), probe, work)
    await supervisor.wait_ready(config.ready_timeout_s)
    return f"nats://{HOST}:{port}"


@asynccontextmanager
async def _open_bus_with_storage(config: UpConfig, nats_url: str) -> AsyncIterator[Bus]:
    async with open_bus(BusConfig(nats_url, BUS_NAME, config.connect_timeout_s)) as bus:
        try:
            await (ensure_storage if config.nats_url else provide_storage)(bus)  # its owner cares for another's bus
        except BUS_FAULTS as error:
            reason = f"no JetStream there ({str(error) or type(error).__name__})"
            raise BusUnavailable(url=nats_url, reason=reason) from error
        yield bus


async def _start_services(
    config: UpConfig, nats_url: str, bus: Bus, supervisor: Supervisor, work: TaskGroup
) -> Platform:
    roll = Roll(bus)
    await roll.open()

    async def probe(spec: ChildSpec, pid: int) -> None:
        await roll.answer_of(spec.service, pid)

    http_ports = choose_http_ports(config)
    grpc_ports = choose_grpc_ports(config, http_ports)
    metrics_ports = choose_metrics_ports(config, [*http_ports, *grpc_ports])
    services = service_specs(config, nats_url, http_ports, grpc_ports, metrics_ports)
    for spec in services:
        supervisor.start(spec, probe, work)
    await supervisor.wait_ready(config.ready_timeout_s)
    http_urls = [f"http://{HOST}:{port}" for port in http_ports]
    endpoints = Endpoints(
        nats_url=nats_url,
        http_url=http_urls[0],
        pid=os.getpid(),
        version=version(DISTRIBUTION),
        http_urls=http_urls,
        grpc_addresses=[f"{HOST}:{port}" for port in grpc_ports if port > 0],
    )
    return Platform(config, endpoints, services, supervisor, roll)


async def _stop_all(config: UpConfig, supervisor: Supervisor, hurry: anyio.Event) -> None:
    """Gateways drain while the rest still serves them; the bus goes when nobody is left on it."""
    names = supervisor.names()
    gateways = [name for name in names if name.partition("-")[0] == GATEWAY]
    others = [name for name in names if name not in gateways and name != embedded.NAME]
    for stage in (gateways, others, [embedded.NAME]):
        await supervisor.stop(stage, config.grace_s, hurry)


@contextmanager
def lone_exceptions() -> Iterator[None]:
    """A group of one is that one: callers see the fault or their own exception, not our task groups."""
    try:
        yield
    except BaseExceptionGroup as group:
        fault: BaseException = group
        while isinstance(fault, BaseExceptionGroup) and len(fault.exceptions) == 1:
            fault = fault.exceptions[0]
        raise fault from fault.__cause__
