"""What a person can choose about a local platform, and the children that follow from it."""

import sys
from pathlib import Path

import msgspec

from fastgshare.cli.up.ports import HOST, free_port
from fastgshare.cli.up.process import ChildSpec
from fastgshare.shared.config import host_name, variable_for
from fastgshare.shared.ids import NodeId

GATEWAY = "gateway"
SCHEDULER = "scheduler"
PROFILER = "profiler"
NODE_MANAGER = "node_manager"
JOURNAL = "journal"
"""In the data directory: what the schedulers decided, by instance and run."""
NO_PORT = -1
EMBEDDED_NODE = NodeId("local")
# Services give up draining by themselves this much before they are killed.
DRAIN_MARGIN_S = 1.0

# Arguments to this interpreter, by service.
PROGRAMS: dict[str, tuple[str, ...]] = {
    service: ("-m", f"fastgshare.{service}") for service in (GATEWAY, SCHEDULER, PROFILER, NODE_MANAGER)
}


class UpConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of `fastgshare up`.

    `nats_url` None starts a server. Ports are wishes: a taken one is replaced by a free one, 0 asks for any; a
    `grpc_port` of None wishes for those after HTTP's, -1 for no gRPC.
    `cores` None leaves the choice to the node manager. `programs` is what runs as each service.
    """

    data_dir: Path
    nats_url: str | None = None
    nats_port: int = 4222
    http_port: int = 8080
    grpc_port: int | None = None
    gateways: int = 1
    schedulers: int = 1
    node_name: NodeId | None = None
    device: str = "auto"
    cores: int | None = None
    programs: dict[str, tuple[str, ...]] = msgspec.field(default_factory=lambda: dict(PROGRAMS))
    connect_timeout_s: float = 10.0
    ready_timeout_s: float = 60.0
    grace_s: float = 5.0

    @property
    def node(self) -> NodeId:
        """This machine's name on the bus: the host's where it joins others, else one that never changes."""
        if self.node_name is not None:
            return self.node_name
        return EMBEDDED_NODE if self.nats_url is None else host_node()


def host_node() -> NodeId:
    """The host's name as a name on the bus."""
    return NodeId(host_name() or EMBEDDED_NODE)


def choose_http_ports(config: UpConfig) -> list[int]:
    """A port for each gateway, the wished one and those after it where they are free."""
    ports: list[int] = []
    for index in range(config.gateways):
        wished = config.http_port + index if config.http_port else 0
        ports.append(free_port(wished, taken=ports))
    return ports


def choose_metrics_ports(config: UpConfig, taken: list[int]) -> list[int]:
    """A port for the metrics of each service; a gateway shows them where it serves too, to keys that may look."""
    ports: list[int] = []
    for _ in range(config.gateways + config.schedulers + len((PROFILER, NODE_MANAGER))):
        ports.append(free_port(0, taken=[*taken, *ports]))
    return ports


def choose_grpc_ports(config: UpConfig, http_ports: list[int]) -> list[int]:
    """A port for each gateway's gRPC, likewise; -1 where there is to be none."""
    first = config.grpc_port
    if first is None:
        first = config.http_port and config.http_port + config.gateways
    if first < 0:
        return [NO_PORT] * config.gateways
    ports: list[int] = []
    for index in range(config.gateways):
        ports.append(free_port(first + index if first else 0, taken=[*http_ports, *ports]))
    return ports


def service_specs(
    config: UpConfig, nats_url: str, http_ports: list[int], grpc_ports: list[int], metrics_ports: list[int]
) -> list[ChildSpec]:
    """The services to run, gateways first."""
    ports = iter(metrics_ports)
    cores = {} if config.cores is None else {"cores": str(config.cores)}
    gateways = [
        {"http_host": HOST, "http_port": str(http), "grpc_host": HOST, "grpc_port": str(grpc), **_shown_at(next(ports))}
        for http, grpc in zip(http_ports, grpc_ports, strict=True)
    ]
    journal = {"journal_dir": str(config.data_dir / JOURNAL)}
    schedulers = [{**journal, **_shown_at(next(ports))} for _ in range(config.schedulers)]
    profiler = _shown_at(next(ports))
    node: dict[str, str] = {"node": config.node, "device": config.device, **cores, **_shown_at(next(ports))}
    wanted: list[tuple[str, list[dict[str, str]]]] = [
        (GATEWAY, gateways),
        (SCHEDULER, schedulers),
        (PROFILER, [profiler]),
        (NODE_MANAGER, [node]),
    ]
    return [
        _spec(config, nats_url, service, index, settings)
        for service, instances in wanted
        for index, settings in enumerate(instances, start=1)
    ]


def _shown_at(port: int) -> dict[str, str]:
    return {"metrics_host": HOST, "metrics_port": str(port)}


def _spec(config: UpConfig, nats_url: str, service: str, index: int, settings: dict[str, str]) -> ChildSpec:
    name = service if index == 1 else f"{service}-{index}"
    settings = {
        "nats_url": nats_url,
        "instance": f"{config.node}-{name}",
        "data_dir": str(config.data_dir),
        "drain_s": str(max(0.0, config.grace_s - DRAIN_MARGIN_S)),
        **settings,
    }
    return ChildSpec(
        name=name,
        argv=(sys.executable, *config.programs[service]),
        service=service,
        env={variable_for(field): value for field, value in settings.items()},
    )
