"""One look at the whole platform: who answers, which nodes beat, what is deployed and how it is doing."""

from collections.abc import Sequence

import anyio
import msgspec
from msgspec.structs import replace
from nats.aio.msg import Msg

from fastgshare.client.infeasible import why_infeasible
from fastgshare.client.logs import last_kept
from fastgshare.client.rollout import is_replica_of, serving_generation, wanted_replicas
from fastgshare.client.shortage import in_words, last_shortage
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket
from fastgshare.shared.bus import Bus, is_no_responders
from fastgshare.shared.codec import decode
from fastgshare.shared.errors import PayloadInvalid
from fastgshare.shared.messages import (
    FunctionSpec,
    NodeStatus,
    Profile,
    ReplicaState,
    ReplicaStatus,
    ServiceReady,
)
from fastgshare.shared.registry import Registry

SERVICES = ("gateway", "scheduler", "profiler", "node_manager")
PING_PATIENCE_S = 1.0
# A service may have several instances: after the first answers, wait a moment for the others.
PING_GRACE_S = 0.1
HEARTBEAT_PATIENCE_S = 1.5


class FunctionState(msgspec.Struct, frozen=True, kw_only=True):
    """A function, its replicas of every generation, and its model's profiles.

    `serving` is the newest generation with a ready replica (0: none), `reasons` what replicas say
    went wrong or, where they say nothing, that there was no room for more, and why the objective cannot be met if it
    cannot. `loans` run its model on loan to the
    profiler and are none of its replicas. `cold_start` tells how long the last way from no replica to an answer took.
    """

    spec: FunctionSpec
    wanted: int
    ready: int
    serving: int
    replicas: list[ReplicaStatus]
    profiles: list[Profile]
    reasons: list[str]
    loans: list[ReplicaStatus] = []
    cold_start: str = ""


class PlatformStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What answered. `missing` names the services of which no instance did."""

    url: str
    services: list[ServiceReady]
    missing: list[str]
    nodes: list[NodeStatus]
    functions: list[FunctionState]


async def look(bus: Bus, url: str) -> PlatformStatus:
    """Ask everyone at once; takes at most about a second and a half. Raises StorageUnavailable."""
    heartbeats: dict[str, NodeStatus] = {}
    heard = anyio.Event()

    async def on_heartbeat(msg: Msg) -> None:
        try:
            status = decode(NodeStatus, msg.data)
        except PayloadInvalid:
            return
        heartbeats[status.node] = status
        heard.set()

    subscription = await bus.subscribe(subjects.NODE_STATUS_ALL, on_heartbeat)
    try:
        services = await ping_services(bus, SERVICES)
        functions = await _functions(bus)
        node_managers = sum(ready.service == "node_manager" for ready in services)
        with anyio.move_on_after(HEARTBEAT_PATIENCE_S):
            while len(heartbeats) < node_managers:
                heard = anyio.Event()
                await heard.wait()
    finally:
        await subscription.unsubscribe()
    answered = {ready.service for ready in services}
    return PlatformStatus(
        url=url,
        services=services,
        missing=[service for service in SERVICES if service not in answered],
        nodes=[heartbeats[node] for node in sorted(heartbeats)],
        functions=functions,
    )


async def ping_services(bus: Bus, services: Sequence[str]) -> list[ServiceReady]:
    """Every instance that answers, in the order of `services`."""
    found: dict[tuple[int, str], ServiceReady] = {}
    open_questions = set(services)
    settled = anyio.Event()
    prefix = bus.connection.new_inbox()

    async def on_answer(msg: Msg) -> None:
        service = msg.subject.removeprefix(f"{prefix}.")
        if not is_no_responders(msg) and (ready := _read(msg)) is not None:
            found[(services.index(service), ready.instance)] = ready
        open_questions.discard(service)
        if not open_questions:
            settled.set()

    subscription = await bus.subscribe(f"{prefix}.*", on_answer)
    try:
        for service in services:
            await bus.publish(subjects.ping(service), b"", f"{prefix}.{service}")
        with anyio.move_on_after(PING_PATIENCE_S):
            await settled.wait()
            await anyio.sleep(PING_GRACE_S)
    finally:
        await subscription.unsubscribe()
    return [found[key] for key in sorted(found)]


async def _functions(bus: Bus) -> list[FunctionState]:
    specs = await Registry(bus).list()
    replicas = list((await Bucket(bus, subjects.REPLICAS, ReplicaStatus).list()).values())
    profiles = list((await Bucket(bus, subjects.PROFILES, Profile).list()).values())
    states = [_state(specs[name], replicas, profiles) for name in sorted(specs)]
    return [await _with_events(bus, state) for state in states]


async def _with_events(bus: Bus, state: FunctionState) -> FunctionState:
    """What is told of it in the stream of events alone."""
    state = await _with_objective(bus, await _with_shortage(bus, state))
    if state.spec.autoscale is None or state.spec.autoscale.min > 0:
        return state  # it never is without replicas for long
    cold = await last_kept(bus, state.spec.name, "cold_start")
    return state if cold is None else replace(state, cold_start=cold.event.text)


async def _with_shortage(bus: Bus, state: FunctionState) -> FunctionState:
    """Why it has fewer replicas than wanted, where they do not tell themselves."""
    is_short = len([status for status in state.replicas if status.generation == state.spec.generation]) < state.wanted
    if not is_short or state.reasons or (told := await last_shortage(bus, state.spec.name)) is None:
        return state
    placed = await last_kept(bus, state.spec.name, "replica_placed")
    if placed is not None and placed.position > told.position:  # there was room after that
        return state
    return replace(state, reasons=[in_words(told)])


async def _with_objective(bus: Bus, state: FunctionState) -> FunctionState:
    """That its objective cannot be met, where the scheduler chooses its slices and found so."""
    told = await why_infeasible(bus, state.spec)
    return replace(state, reasons=[*state.reasons, told]) if told else state


def _state(spec: FunctionSpec, replicas: list[ReplicaStatus], profiles: list[Profile]) -> FunctionState:
    named = sorted(
        (status for status in replicas if status.function == spec.name),
        key=lambda status: (status.generation, status.replica),
    )
    own = [status for status in named if is_replica_of(spec.name, status)]
    ready = [status for status in own if status.state is ReplicaState.READY]
    return FunctionState(
        spec=spec,
        wanted=wanted_replicas(spec),
        ready=sum(status.generation == spec.generation for status in ready),
        serving=serving_generation(own),
        replicas=own,
        profiles=[profile for profile in profiles if profile.model_digest == spec.model.digest],
        reasons=sorted({status.reason for status in own if status.reason}),
        loans=[status for status in named if status.loan],
    )


def _read(msg: Msg) -> ServiceReady | None:
    try:
        return decode(ServiceReady, msg.data)
    except PayloadInvalid:
        return None
