"""`fastgshare status`."""

from collections.abc import Sequence
from textwrap import shorten
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastgshare.cli.consoles import table_console
from fastgshare.cli.running import Url, Usage, reported, with_client
from fastgshare.client.connection import Client
from fastgshare.client.status import SERVICES, FunctionState, PlatformStatus
from fastgshare.shared.errors import FastGShareError
from fastgshare.shared.messages import NodeStatus, Profile, ProfileState, ReplicaStatus, ReplicaUse, ServiceReady

REASON_SHOWN = 60


class ServicesMissing(FastGShareError):
    """Of some services nobody answers: field `services`."""

    def __str__(self) -> str:
        return f"does not answer: {self.fields['services']}"


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    check: Annotated[bool, typer.Option("--check", help="End with status 1 where a service is missing.")] = False,
    without: Annotated[
        list[str] | None, typer.Option("--without", metavar="SERVICE", help="Not missed by --check.")
    ] = None,
    url: Url = None,
) -> None:
    """Who answers, which nodes beat, and how every function does."""
    with reported():
        for name in without or ():
            if name not in SERVICES:
                raise Usage(problem=f"--without: no service '{name}': expected one of {', '.join(SERVICES)}")

    async def act(client: Client) -> None:
        found = await client.status()
        if as_json:
            print(msgspec.json.encode(found).decode())
        else:
            _show(found)
        missed = [name for name in found.missing if name not in (without or ())]
        if check and missed:
            raise ServicesMissing(services=", ".join(missed))

    with_client(url, act)


def _show(found: PlatformStatus) -> None:
    console = table_console()
    console.print(f"platform at {found.url}", highlight=False)
    services = _table("service", "instance", "pid", "MiB", "listens")
    for ready in found.services:
        services.add_row(*service_row(ready))
    for name in found.missing:
        services.add_row(Text(name, "red"), Text("does not answer", "red"))
    console.print(services)
    nodes = _table("node", "device", "kind", "chunks", "MiB used", "of", "waiting", "models", "health")
    for node in found.nodes:
        for row in node_rows(node):
            nodes.add_row(*row)
    console.print(nodes if found.nodes else "no node beats", highlight=False)
    _show_functions(console, found)


def _show_functions(console: Console, found: PlatformStatus) -> None:
    if not found.functions:
        console.print("nothing is deployed: `fastgshare deploy FILE.yaml`", highlight=False)
        return
    functions = _table("function", "gen", "ready", "serving", "objective", "profile", "replicas")
    for function in found.functions:
        functions.add_row(*function_row(function))
    console.print(functions)
    for title, statuses in (
        ("replica", [replica for function in found.functions for replica in function.replicas]),
        ("on loan to the profiler", [loan for function in found.functions for loan in function.loans]),
    ):
        replicas = _table(title, "state", "chunks", "quota", "had", "own MiB", "weights MiB", "load ms", "restarts")
        for cells in replica_rows(statuses, found.nodes):
            replicas.add_row(*cells)
        if replicas.row_count:
            console.print(replicas)
    for function in found.functions:
        for reason in function.reasons:
            console.print(Text(f"{function.spec.name}: {reason}", "yellow"))
    for function in found.functions:
        for note in notes(function):
            console.print(f"{function.spec.name}: {note}", highlight=False)


def notes(function: FunctionState) -> list[str]:
    """What is worth knowing and no trouble: how long its last cold start took, what its replicas note."""
    cold_start = [f"last {function.cold_start}"] if function.cold_start else []
    return cold_start + sorted({replica.note for replica in function.replicas if replica.note})


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def service_row(ready: ServiceReady) -> tuple[str, ...]:
    """Service, instance, process, memory, and where it listens."""
    listens = " ".join(ready.endpoints.values())
    return ready.service, ready.instance, str(ready.pid), f"{ready.rss_mib:.0f}", listens


def node_rows(node: NodeStatus) -> list[tuple[str, ...]]:
    """A row a device: its size, what is on it, how many requests wait there, and how it is."""
    return [
        (
            node.node,
            device.device,
            device.kind,
            str(device.chunks),
            f"{device.used_mib:.0f}",
            str(device.memory_mib),
            str(sum(device.depth.values())),
            str(len(device.models)),
            "healthy" if device.healthy else device.reason or "unhealthy",
        )
        for device in node.devices
    ]


def replica_rows(replicas: Sequence[ReplicaStatus], nodes: Sequence[NodeStatus]) -> list[tuple[str, ...]]:
    """A row a replica: its slice, the share of time it had of late, and its memory with the weights it shares."""
    devices = [device for node in nodes for device in node.devices]
    use = {name: had for device in devices for name, had in device.use.items()}
    sharing = {(device.device, model.digest): model.replicas for device in devices for model in device.models}
    return [
        (
            replica.replica,
            replica.state.value,
            _ranges(replica.chunks),
            _quota(replica),
            _had(use.get(replica.replica)),
            f"{replica.memory_mib:.0f}",
            f"{replica.weights_mib:.0f}{_shared(sharing.get((replica.device, replica.model_digest), 1))}",
            f"{replica.load_ms:.0f}",
            str(replica.restarts),
        )
        for replica in replicas
    ]


def _had(use: ReplicaUse | None) -> str:
    """A batch counts where it ends, so one longer than a heartbeat looks like more time than there was."""
    return f"{min(use.time_share, 1.0):.0%}" if use is not None else ""


def _quota(replica: ReplicaStatus) -> str:
    """What it is promised, and what it may have; a loan is promised nothing, whatever its slice says."""
    if replica.slice is None:
        return ""
    request = 0.0 if replica.loan else replica.slice.quota_request
    return f"{request:g} to {replica.slice.quota_limit:g}"


def _shared(replicas: int) -> str:
    return f" shared by {replicas}" if replicas > 1 else ""


def _ranges(chunks: tuple[int, ...]) -> str:
    """`0-3,6` for (0, 1, 2, 3, 6)."""
    runs: list[list[int]] = []
    for chunk in chunks:
        if runs and chunk == runs[-1][1] + 1:
            runs[-1][1] = chunk
        else:
            runs.append([chunk, chunk])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _profile(table: Profile) -> str:
    text = f"{table.device_kind} {table.state.value}"
    if table.state is ProfileState.MEASURING:
        return f"{text}, {len(table.points)} point{'' if len(table.points) == 1 else 's'}"
    if table.state is ProfileState.FAILED and table.reason:
        return f"{text}: {shorten(table.reason, REASON_SHOWN, placeholder=' ...')}"
    return text


def function_row(function: FunctionState) -> tuple[str, ...]:
    """A function's generation, how many replicas of it are ready, what serves, and its model's profiles."""
    spec = function.spec
    scale = f"{spec.autoscale.min} to {spec.autoscale.max}" if spec.autoscale is not None else str(function.wanted)
    profiles = ", ".join(_profile(table) for table in function.profiles)
    states = ", ".join(f"{replica.replica} {replica.state.value}" for replica in function.replicas)
    return (
        spec.name,
        str(spec.generation),
        f"{function.ready} of {scale}",
        f"gen {function.serving}" if function.serving else "none",
        f"p{spec.slo_percentile:g} {spec.slo_ms:g} ms",
        profiles or "none",
        states or "none",
    )
