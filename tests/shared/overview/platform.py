"""A small platform told to an overview: made facts with only what a test is about."""

from collections.abc import Mapping

from fastgshare.shared.histograms import Durations
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, GatewayId, HostId, NodeId, ReplicaId
from fastgshare.shared.messages import (
    DeviceStatus,
    FunctionReport,
    FunctionSpec,
    GatewayReport,
    Histogram,
    ModelRef,
    NodeStatus,
    ReplicaState,
    ReplicaStatus,
    ReplicaUse,
    Slice,
)
from fastgshare.shared.units import US_PER_S

NOW_US = 1_700_000_000 * US_PER_S
DEVICE = DeviceId("n1-cpu0")
NODE = NodeId("n1")
OCR = FunctionName("ocr")


def spec(name: str = OCR, **fields: object) -> FunctionSpec:
    """A function."""
    model = ModelRef(digest=Digest("a" * 64), size_bytes=1)
    given: dict[str, object] = {"name": FunctionName(name), "model": model, "slo_ms": 100.0} | fields
    return FunctionSpec(**given)  # type: ignore[arg-type]


def replica(name: str, function: str = OCR, **fields: object) -> ReplicaStatus:
    """A replica, ready on chunk 0 with half of its time."""
    given: dict[str, object] = {
        "replica": ReplicaId(name),
        "function": FunctionName(function),
        "generation": 1,
        "node": NODE,
        "device": DEVICE,
        "host": HostId("h"),
        "incarnation": "i",
        "state": ReplicaState.READY,
        "device_kind": "cpu",
        "model_digest": Digest("a" * 64),
        "chunks": (0,),
        "slice": Slice(quota_request=0.5),
    } | fields
    return ReplicaStatus(**given)  # type: ignore[arg-type]


def node(
    had: Mapping[str, float] | None = None, running: tuple[str, ...] = (), name: str = NODE, **fields: object
) -> NodeStatus:
    """A heartbeat of a node with one device of two chunks."""
    use = {ReplicaId(replica): ReplicaUse(time_share=share) for replica, share in (had or {}).items()}
    given: dict[str, object] = {
        "device": DEVICE,
        "kind": "cpu",
        "chunks": 2,
        "memory_mib": 1000,
        "use": use,
        "running": tuple(map(ReplicaId, running)),
    } | fields
    device = DeviceStatus(**given)  # type: ignore[arg-type]
    return NodeStatus(node=NodeId(name), host=HostId("h"), incarnation="i", at_us=0, devices=(device,))


def counts(
    met: int = 0, missed: int = 0, took_us: int = 0, refused: dict[str, int] | None = None, held: int = 0
) -> FunctionReport:
    """Counts of one function since its gateway started; all that were met or missed had arrived."""
    durations = Durations()
    for _ in range(met + missed if took_us else 0):
        durations.add(took_us)
    return FunctionReport(
        arrived=met + missed,
        answered=met + missed,
        met=met,
        missed=missed,
        refused=refused or {},
        whole=Histogram(tuple(durations.counts), durations.sum_us),
        held=held,
    )


def report(
    counts: FunctionReport | None = None, gateway: str = "g1", incarnation: str = "one", function: str = OCR
) -> GatewayReport:
    """A gateway's report about one function."""
    functions = {FunctionName(function): counts} if counts is not None else {}
    return GatewayReport(gateway=GatewayId(gateway), incarnation=incarnation, at_us=0, functions=functions)
