"""Facts into state: each event changes what is believed and marks the functions it may matter to."""

from functools import singledispatch

from fastgshare.scheduler.core import events, liveness, traffic
from fastgshare.scheduler.core.records import (
    DeviceView,
    Gateway,
    GatewayTraffic,
    KnownTable,
    Loan,
    Node,
    Placed,
    Reported,
    Scale,
)
from fastgshare.scheduler.core.settings import Settings
from fastgshare.scheduler.core.state import State
from fastgshare.shared import subjects
from fastgshare.shared.ids import NodeId, ReplicaId
from fastgshare.shared.messages import FunctionLoad, ProfileState, ReplicaState, ReplicaStatus
from fastgshare.shared.tables import Table

NO_LOAD = FunctionLoad()


@singledispatch
def apply(event: object, state: State, now_us: int, settings: Settings) -> None:
    """Take `event` into `state`."""
    raise TypeError(f"not an event: {event!r}")


@apply.register
def _(event: events.FunctionDefined, state: State, now_us: int, settings: Settings) -> None:
    function = state.function(event.spec.name)
    if function.spec == event.spec:
        return
    if function.spec is None:
        function.since_us = now_us
    if function.spec is None or function.spec.generation != event.spec.generation:
        function.retries = 0
        function.blocked = ""
    if event.spec.autoscale is None:
        function.scale = Scale()
    function.told_us = None
    function.spec = event.spec
    state.touch(event.spec.name)


@apply.register
def _(event: events.FunctionRemoved, state: State, now_us: int, settings: Settings) -> None:
    function = state.functions.get(event.function)
    if function is not None:
        function.spec = None
        state.touch(event.function)


@apply.register
def _(event: events.NodeSeen, state: State, now_us: int, settings: Settings) -> None:
    known = state.nodes.get(event.node)
    node = known or Node(event.node, heard_us=now_us, since_us=now_us)
    state.nodes[event.node] = node
    node.heard_us = now_us
    node.timeout_us = max(settings.silent_us, settings.missed_heartbeats * event.interval_us)
    changed = node.silent or node.incarnation != event.incarnation
    if changed:
        node.incarnation = event.incarnation
        node.since_us = now_us
        node.silent = False
    usable = tuple(device for device in event.devices if device.chunks > 0)
    node.unusable = tuple(device.device for device in event.devices if device.chunks <= 0)
    if _devices_changed(state, node, usable, now_us) or changed:
        state.node_changed(event.node)
        state.touch_placed_on(event.node)
        state.touch_blocked()


def _devices_changed(state: State, node: Node, devices: tuple[events.Device, ...], now_us: int) -> bool:
    changed = False
    for device in devices:
        view = node.devices.get(device.device)
        if view is not None and view.device == device and (view.bad_since_us is None) == device.healthy:
            continue
        changed = True
        bad_since_us = view.bad_since_us if view is not None else None
        if device.healthy:
            bad_since_us = None
        elif bad_since_us is None:
            bad_since_us = now_us
        state.put_device(node, DeviceView(device, bad_since_us))
    there = {device.device for device in devices}
    for name, view in node.devices.items():
        if name not in there and view.bad_since_us is None:
            view.bad_since_us = now_us
            changed = True
    return changed


@apply.register
def _(event: events.ReplicaReported, state: State, now_us: int, settings: Settings) -> None:
    status = event.status
    key = subjects.fleet_key(status.node, status.replica)
    known = state.reported.get(key)
    if known is not None and known.status == status:
        return
    same = known is not None and _phase(known.status) == _phase(status)
    state.add_reported(key, Reported(status, known.since_us if known is not None and same else now_us))
    if status.loan:
        if not same:
            state.touch_awaiting_loan()
        return
    placed = state.placed.get(key)
    if placed is not None:
        placed.revived = placed.revived or (known is not None and _over(known.status) and not _over(status))
        if status.state is ReplicaState.READY:
            _proved(state, status, now_us)
    if not same:
        state.touch(status.function)
        state.touch_blocked()


def _phase(status: ReplicaStatus) -> tuple[ReplicaState, bool]:
    return status.state, status.transient


def _over(status: ReplicaStatus) -> bool:
    return status.state is ReplicaState.FAILED and not status.transient


def _proved(state: State, status: ReplicaStatus, now_us: int) -> None:
    function = state.function(status.function)
    function.retries = 0
    if status.generation not in function.proven:
        function.proven[status.generation] = True
        function.traffic.active_us = now_us


@apply.register
def _(event: events.ReplicaGone, state: State, now_us: int, settings: Settings) -> None:
    key = subjects.fleet_key(event.node, event.replica)
    reported = state.drop_reported(event.node, key)
    if reported is not None and reported.status.loan:
        state.touch_awaiting_loan()
    elif reported is not None:
        state.touch(reported.status.function)
        state.touch_blocked()


@apply.register
def _(event: events.PlacementKnown, state: State, now_us: int, settings: Settings) -> None:
    placement = event.placement
    key = subjects.fleet_key(placement.node, placement.replica)
    placed = _standing(state, key)
    if placed is not None and placed.placement == placement:
        placed.confirmed = True
        placed.resized_from = None
        return
    if placed is not None and not placed.confirmed and placement.epoch <= placed.placement.epoch:
        placed.resized_from = placement
        return  # what is believed is on its way, and written over this
    state.departing.pop(key, None)
    liveness.expect_node(state, placement.node, now_us, settings)
    if placed is not None and placed.placement.loan == placement.loan:
        state.rewrite(placed, placement)
        state.touch(placement.function.name)
        return
    overtaken = placed is None and state.epoch is not None and placement.epoch < state.epoch
    found = Placed(placement, since_us=now_us, confirmed=True, overtaken=overtaken, replaces=placement.replaces)
    if placement.loan:
        state.add_loan(Loan(found, wished_us=now_us))
        return
    state.add_placed(found)
    reported = state.reported.get(key)
    if reported is not None and reported.status.state is ReplicaState.READY:
        _proved(state, reported.status, now_us)
    state.touch(placement.function.name)


def _standing(state: State, key: str) -> Placed | None:
    """What is believed to stand there, a replica or a loan."""
    loan = state.loans.get(key)
    return loan.placed if loan is not None else state.placed.get(key)


@apply.register
def _(event: events.PlacementGone, state: State, now_us: int, settings: Settings) -> None:
    _unplaced(state, event.node, event.replica)


@apply.register
def _(event: events.PlacementRefused, state: State, now_us: int, settings: Settings) -> None:
    _unplaced(state, event.node, event.replica)


def _unplaced(state: State, node: NodeId, replica: ReplicaId) -> None:
    key = subjects.fleet_key(node, replica)
    if state.drop_loan(key) is not None:
        state.touch_awaiting_loan()
        return
    placed = state.drop_placed(key)
    if placed is not None:
        state.touch(placed.placement.function.name)
        state.touch_blocked()


@apply.register
def _(event: events.LoadReported, state: State, now_us: int, settings: Settings) -> None:
    known = state.gateways.get(event.gateway)
    state.gateways[event.gateway] = Gateway(event.incarnation, heard_us=now_us)
    restarted = known is not None and known.incarnation != event.incarnation
    for name, function in state.functions.items():
        load = event.functions.get(name)
        seen = function.traffic.gateways.get(event.gateway)
        if load is None and seen is None:
            continue
        load = load or NO_LOAD
        if seen is None:
            from_zero = known is not None and function.since_us <= known.heard_us
            seen = GatewayTraffic(at_us=known.heard_us if known and from_zero else now_us)
            function.traffic.gateways[event.gateway] = seen
            if not from_zero:
                traffic.set_counts(seen, load)
        elif restarted:
            traffic.set_counts(seen, NO_LOAD)
        progress = traffic.count(seen, load, now_us, settings)
        traffic.observe(function.traffic, progress, load, now_us)
        if load.held:
            state.touch(name)


@apply.register
def _(event: events.DemandRaised, state: State, now_us: int, settings: Settings) -> None:
    function = state.functions.get(event.function)
    if function is not None:
        traffic.demand(function.traffic, event.gateway, event.held, now_us)
        state.touch(event.function)


@apply.register
def _(event: events.ProfileKnown, state: State, now_us: int, settings: Settings) -> None:
    profile = event.profile
    key = subjects.profile_key(profile.model_digest, profile.device_kind)
    table = Table.of(profile)
    if table is None:
        state.tables.pop(key, None)
    else:
        state.tables[key] = KnownTable(table, is_complete=profile.state is ProfileState.COMPLETE)
    state.touch_model(profile.model_digest)


@apply.register
def _(event: events.ProfileGone, state: State, now_us: int, settings: Settings) -> None:
    state.tables.pop(event.key, None)
    state.touch_model(subjects.profile_digest(event.key))


@apply.register
def _(event: events.SliceWished, state: State, now_us: int, settings: Settings) -> None:
    loan = state.loan_for(event.wish.loan)
    if loan is not None:
        loan.wished_us, loan.asked = now_us, event.wish.asked


@apply.register
def _(event: events.LeadershipWon, state: State, now_us: int, settings: Settings) -> None:
    state.epoch = event.epoch
    state.replicas_named = state.loans_named = 0
    state.taken_back.clear()
    state.changed_us.clear()
    state.led_us = now_us
    for loan in state.loans.values():
        loan.wished_us, loan.asked = now_us, True
    for function in state.functions.values():
        function.traffic.active_us = now_us
        state.touch(function.name)


@apply.register
def _(event: events.LeadershipLost, state: State, now_us: int, settings: Settings) -> None:
    """What was decided and not seen in the bucket may or may not have been written: the bucket will tell."""
    state.epoch = None
    for key, loan in list(state.loans.items()):
        loan.placed.leaving = False
        state.changed(loan.placed.placement.node, key)
        if not loan.placed.confirmed:
            state.drop_loan(key)
    state.leaving.clear()
    state.consolidation.transfers, state.consolidation.is_under_way = (), False
    state.starving.clear()
    for key, placed in list(state.placed.items()):
        placed.leaving = False
        if placed.confirmed or placed.resized_from is not None:
            state.rewrite(placed, placed.resized_from or placed.placement)
        else:
            state.drop_placed(key)


@apply.register
def _(event: events.BusResumed, state: State, now_us: int, settings: Settings) -> None:
    liveness.give_grace(state, now_us)


@apply.register
def _(event: events.Ticked, state: State, now_us: int, settings: Settings) -> None:
    """Ticking late means that heartbeats are waiting unread: nobody is silent on that account."""
    if state.wake_at_us is not None and now_us - state.wake_at_us > settings.late_us:
        liveness.give_grace(state, now_us)
    state.ticked_us = now_us
