"""Builders for tests of the gateway's core: one function, replicas, requests and what comes of them."""

from collections.abc import Iterable

from msgspec.structs import replace

from fastgshare.gateway.core.gatekeeper import Gatekeeper, Limits
from fastgshare.gateway.core.tickets import Action, Dispatch, Refuse, Ticket
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import (
    AttemptId,
    DeviceId,
    Digest,
    FunctionName,
    HostId,
    NodeId,
    ReplicaId,
    RequestId,
)
from fastgshare.shared.messages import (
    Completion,
    DoneNotice,
    FunctionSpec,
    InferRequest,
    ModelRef,
    Profile,
    ProfilePoint,
    ProfileState,
    ReplicaState,
    ReplicaStatus,
    Signature,
    SlotRef,
    Tensor,
    Timing,
)

FN = FunctionName("echo")
HOST = HostId("host-a")
DIGEST = Digest("0" * 64)
T0 = 1_000_000_000
SECOND = 1_000_000
SIGNATURE = Signature(
    inputs=(TensorSpec("x", "FP32", (-1, 4)),), outputs=(TensorSpec("y", "FP32", (-1, 4)),), batched=True
)


def spec(max_batch: int = 8, generation: int = 1) -> FunctionSpec:
    return FunctionSpec(
        name=FN, model=ModelRef(digest=DIGEST, size_bytes=1), max_batch=max_batch, generation=generation
    )


def status(name: str, state: ReplicaState = ReplicaState.READY, **fields: object) -> ReplicaStatus:
    base = ReplicaStatus(
        replica=ReplicaId(name),
        function=FN,
        generation=1,
        node=NodeId("n"),
        device=DeviceId("n-cpu0"),
        host=HOST,
        incarnation="life-1",
        state=state,
        device_kind="cpu-test",
        model_digest=DIGEST,
        signature=SIGNATURE,
        max_batch=8,
    )
    return replace(base, **fields)


def profile(us_per_row: int = 10_000) -> Profile:
    points = tuple(
        ProfilePoint(
            sm_partition=50,
            quota=1.0,
            batch=batch,
            throughput_rps=1e6 / us_per_row,
            p50_us=batch * us_per_row,
            p95_us=batch * us_per_row,
            p99_us=batch * us_per_row,
            device_us=batch * us_per_row,
            runs=10,
        )
        for batch in (1, 2, 4, 8)
    )
    return Profile(model_digest=DIGEST, device_kind="cpu-test", state=ProfileState.COMPLETE, points=points)


def request(rows: int = 1, name: str = "x", datatype: str = "FP32", slot: SlotRef | None = None) -> InferRequest:
    data = memoryview(b"" if slot else bytes(rows * 16))
    return InferRequest(1, (Tensor(name, datatype, (rows, 4), data, slot),))


def ticket(number: int, deadline_us: int = T0 + SECOND, host: HostId | None = None) -> Ticket:
    return Ticket(
        request_id=RequestId(f"r{number}"),
        function=FN,
        payload=b"",
        reply=f"inbox.{number}",
        deadline_us=deadline_us,
        traceparent="",
        arrived_us=T0,
        host=host,
    )


def weighty(light: Ticket) -> Ticket:
    """The ticket with a payload."""
    light.payload = b"payload"
    return light


def gate(*replicas: ReplicaStatus, limits: Limits | None = None) -> Gatekeeper:
    gatekeeper = Gatekeeper(limits or Limits())
    gatekeeper.function_defined(spec())
    gatekeeper.node_seen(NodeId("n"), T0)
    for replica in replicas:
        gatekeeper.replica_reported(replica, T0)
    return gatekeeper


def code(action: Action | None) -> ErrorCode:
    assert isinstance(action, Refuse)
    return action.error.code


def dispatched(actions: Iterable[Action]) -> list[str]:
    return [action.ticket.request_id for action in actions if isinstance(action, Dispatch)]


def ticked(gatekeeper: Gatekeeper, from_us: int, until_us: int) -> list[Action]:
    """What regular ticks do in that time."""
    times = range(from_us, until_us + 1, 50_000)
    return [action for now_us in times for action in gatekeeper.tick(now_us, connected=True)]


def notice(replica: str, *attempts: str, depth: int = 0, end_us: int = T0) -> DoneNotice:
    done = tuple(Completion(AttemptId(a), True, Timing(0, 0, 1000, 1), end_us) for a in attempts)
    return DoneNotice(1, ReplicaId(replica), "life-1", depth, done)


def done_after(queue_us: int, attempt: str, ok: bool = True) -> DoneNotice:
    timing = Timing(queue_us, 0, 1_000, 1) if ok else Timing()
    code = "" if ok else ErrorCode.DEADLINE_EXCEEDED.value
    return DoneNotice(1, ReplicaId("a"), "life-1", 0, (Completion(AttemptId(attempt), ok, timing, T0, code),))
