"""Who is there: nodes by the age of their heartbeat, replicas by what their node says if it still speaks.

Silence is judged at ticks only, and never for a time in which this scheduler itself was late or cut off.
"""

from enum import Enum

from fastgshare.scheduler.core.records import Node, Placed
from fastgshare.scheduler.core.settings import Settings
from fastgshare.scheduler.core.state import State
from fastgshare.shared.ids import DeviceId, NodeId
from fastgshare.shared.messages import Placement, ReplicaState

MAX_DOUBLINGS = 10


class Health(Enum):
    """What can be expected of a placed replica."""

    READY = "ready"
    PENDING = "pending"
    LOST = "lost"
    """Its node is silent, or its device is gone: it comes back with them or not at all."""
    STUCK = "stuck"
    """It does not come up, for a passing reason or an unknown one: it should be placed anew."""
    FAILED = "failed"
    """Its generation does not work."""


def silenced(node: Node, now_us: int) -> bool:
    """Whether a node's heartbeats have stopped by now."""
    return now_us - node.heard_us > node.timeout_us


def give_grace(state: State, now_us: int) -> None:
    """Count silence from now on."""
    for node in state.nodes.values():
        if not node.silent:
            node.heard_us = max(node.heard_us, now_us)
            node.since_us = max(node.since_us, now_us)


def expect_node(state: State, name: NodeId, now_us: int, settings: Settings) -> Node:
    """The node of this name; one never heard of may be starting up, as we are."""
    node = state.nodes.get(name)
    if node is None:
        node = Node(name, heard_us=now_us, since_us=now_us, timeout_us=settings.expect_us)
        state.nodes[name] = node
    return node


def serving_device(state: State, node_id: NodeId, device: DeviceId) -> bool:
    """Whether a device can take replicas right now."""
    node = state.nodes.get(node_id)
    if node is None or node.silent:
        return False
    view = node.devices.get(device)
    return view is not None and view.bad_since_us is None


def health(state: State, placed: Placed, now_us: int, settings: Settings) -> Health:
    """What can be expected of this replica."""
    placement = placed.placement
    if _misplaced(state, placement):
        return Health.LOST
    function = state.function(placement.function.name)
    reported = state.reported.get(placed.key)
    status = reported.status if reported else None
    failed = status is not None and status.state is ReplicaState.FAILED
    for_good = status is not None and failed and not status.transient
    if for_good and placement.function.generation not in function.proven:
        return Health.FAILED
    if _device_lost(state, placement, now_us, settings):
        return Health.LOST
    if not serving_device(state, placement.node, placement.device):
        return Health.PENDING
    if status is not None and status.state is ReplicaState.READY:
        return Health.READY
    since_us, patience_us = _waiting(state, placed, now_us, settings)
    doubled_us = min(patience_us << min(function.retries, MAX_DOUBLINGS), settings.patience_us)
    return Health.STUCK if now_us - since_us >= doubled_us else Health.PENDING


def is_lost(state: State, placement: Placement, now_us: int, settings: Settings) -> bool:
    """Whether what is placed there cannot be there, or went with its node or device."""
    return _misplaced(state, placement) or _device_lost(state, placement, now_us, settings)


def occupies(state: State, placed: Placed) -> bool:
    """Whether a placement takes anything of its device: not where it failed for good, or cannot be there."""
    reported = state.reported.get(placed.key)
    if reported is not None and reported.status.state is ReplicaState.FAILED and not reported.status.transient:
        return False
    return not _misplaced(state, placed.placement)


def _waiting(state: State, placed: Placed, now_us: int, settings: Settings) -> tuple[int, int]:
    """Since when a replica that is not ready gives reason to replace it, and how long that is borne."""
    reported = state.reported.get(placed.key)
    if reported is None:
        node = state.nodes[placed.placement.node]
        return max(placed.since_us, node.since_us), settings.unreported_us
    if reported.status.state is ReplicaState.FAILED:
        return reported.since_us, settings.transient_us
    return now_us, settings.transient_us


def _misplaced(state: State, placement: Placement) -> bool:
    """Whether the device turned out smaller than the placement assumes."""
    node = state.nodes.get(placement.node)
    view = node.devices.get(placement.device) if node else None
    return view is not None and max(placement.chunks, default=0) >= view.device.chunks


def away_us(state: State, placement: Placement, now_us: int) -> int | None:
    """How long a device has been away whose node speaks; None: it is there, or its node is silent."""
    node = state.nodes.get(placement.node)
    if node is None or node.silent or not node.incarnation:
        return None
    view = node.devices.get(placement.device)
    bad_since_us = node.since_us if view is None else view.bad_since_us
    return None if bad_since_us is None else now_us - bad_since_us


def _device_lost(state: State, placement: Placement, now_us: int, settings: Settings) -> bool:
    node = state.nodes.get(placement.node)
    if node is None or node.silent:
        return True
    gone_us = away_us(state, placement, now_us)
    return gone_us is not None and gone_us > settings.device_us
