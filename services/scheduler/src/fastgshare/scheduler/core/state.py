"""Everything the scheduler believes, as plain data; changed by `fold` (facts) and `plan` (decisions) only.

Iteration is always over dictionaries in insertion order or over sorted keys, never over sets of strings, so that
the same events lead to the same decisions in every process.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from fastgshare.scheduler.core.books import Books, Key
from fastgshare.scheduler.core.events import Device
from fastgshare.scheduler.core.forecast import Signal
from fastgshare.scheduler.core.menu import Menu
from fastgshare.scheduler.core.policies.port import Question
from fastgshare.shared import subjects
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, GatewayId, NodeId, ReplicaId
from fastgshare.shared.messages import FunctionSpec, Placement, ReplicaStatus
from fastgshare.shared.tables import Table

AWAITS_ROOM, AWAITS_LOAN = "soon", "loan"
"""`FunctionState.blocked` while somebody who is in the way leaves, and while that is a loan."""
NEVER = "never "
"""With this `FunctionState.blocked` begins where no device could ever hold it."""
ANYWHERE = DeviceId("")
"""Stands for every device."""


@dataclass(slots=True)
class DeviceView:
    """A device as last heard of; `bad_since_us` tells since when it is unhealthy or missing."""

    device: Device
    bad_since_us: int | None = None


@dataclass(slots=True)
class Node:
    """A node as last heard of. Without an incarnation it is only named by placements and still expected."""

    node: NodeId
    heard_us: int
    since_us: int
    incarnation: str = ""
    timeout_us: int = 0
    silent: bool = False
    devices: dict[DeviceId, DeviceView] = field(default_factory=dict)


@dataclass(slots=True)
class Placed:
    """A desired replica: in the bucket (`confirmed`) or on its way there.

    `leaving`: its removal was commanded. `overtaken`: a leader of an earlier term wrote it after ours began.
    `revived`: it had failed for good, its room was given away, and its node tries it again. `resized_from`: what stands
    in the bucket while a change of it is on its way there. `replaces`: the key of the replica that it is to take over
    from, once ready; until then it is an understudy, and one more than its function asked for. `stands_in`: an
    understudy that leaves if the other, whose device was away, is ready first.
    """

    placement: Placement
    since_us: int
    confirmed: bool
    leaving: bool = False
    overtaken: bool = False
    revived: bool = False
    resized_from: Placement | None = None
    replaces: Key = ""
    stands_in: bool = False

    @property
    def is_understudy(self) -> bool:
        """Whether the replica that it is to take over from still stands."""
        return self.replaces != ""

    @property
    def key(self) -> Key:
        """Its key in the bucket."""
        return subjects.fleet_key(self.placement.node, self.placement.replica)

    @property
    def age(self) -> tuple[int, int, str]:
        """Sorts the replicas of a function and generation by when they were decided, across terms."""
        return (self.placement.epoch, len(self.placement.replica), self.placement.replica)


@dataclass(slots=True)
class Loan:
    """A slice on loan to a profiler: its placement, and when its wish was last heard.

    `asked`: a person waits for it, so traffic does not end it; taken for so until its wish is heard in this term.
    """

    placed: Placed
    wished_us: int
    asked: bool = True


@dataclass(slots=True)
class TakenBack:
    """Why a loan ended, to be told when its wish is repeated."""

    reason: str
    at_us: int


@dataclass(slots=True)
class Reported:
    """An actual replica: its status, and since when it has been in this state."""

    status: ReplicaStatus
    since_us: int


class Promise(NamedTuple):
    """Requests a second by a table, and the relative error that may have."""

    rps: float
    error: float


@dataclass(slots=True)
class KnownTable:
    """A version of a throughput table, and what it was found to promise, by what was asked of it."""

    table: Table
    is_complete: bool
    promises: dict[Hashable, Promise | None] = field(default_factory=dict)
    menus: dict[Hashable, Menu] = field(default_factory=dict)


@dataclass(slots=True)
class Gateway:
    """A gateway as last heard of; another incarnation counts from zero."""

    incarnation: str
    heard_us: int


@dataclass(slots=True)
class GatewayTraffic:
    """One function at one gateway: the last counts, and the arrival rate smoothed from them."""

    at_us: int
    arrived: int = 0
    answered: int = 0
    execute_us: int = 0
    outstanding: int = 0
    held: int = 0
    rate_rps: float = 0.0
    signal: Signal = field(default_factory=Signal)


@dataclass(slots=True)
class Traffic:
    """A function's demand at all gateways, and what its replicas were seen to do per second of execution.

    `busy_us`: when a request was last seen to arrive or to be on its way. `active_us` may be later, in its favour.
    """

    gateways: dict[GatewayId, GatewayTraffic] = field(default_factory=dict)
    active_us: int = 0
    busy_us: int | None = None
    answered: float = 0.0
    execute_us: float = 0.0


@dataclass(slots=True)
class Scale:
    """Where automatic scaling stands: the count, when it last grew, and the recent needs (when, how many).

    `peaks`: the recent needs in requests a second, likewise. `cramped`: replicas whose device had no room for
    what they should hold, until when that is believed. `moved_us`: when replicas were last replaced by better ones.
    `told`: why the objective cannot be met, once reported. `calm`: the last question, if nothing followed from it;
    `still`: likewise, where all replicas are ready and only facts or another demand can change that.
    """

    count: int | None = None
    grown_us: int = 0
    recent: list[tuple[int, int]] = field(default_factory=list)
    peaks: list[tuple[int, float]] = field(default_factory=list)
    cramped: dict[Key, int] = field(default_factory=dict)
    moved_us: int | None = None
    told: str = ""
    calm: Question | None = None
    still: Question | None = None


@dataclass(slots=True)
class FunctionState:
    """One function: its definition (None: deleted, or not heard of yet) and what became of its generations.

    `proven` generations have had a ready replica; `failed` ones had one fail for good before that. `blocked` says
    what there was no room for; `told_us`: when that was last told,
    for this `told_wish`.
    `settled`: nothing but a new fact can change the plan; else it is reviewed at the first tick from `review_us` on.
    `moved_us`: when a replica of it was last moved, or others were for its sake.
    """

    name: FunctionName
    spec: FunctionSpec | None = None
    since_us: int = 0
    placed: dict[Key, Placed] = field(default_factory=dict)
    proven: dict[int, bool] = field(default_factory=dict)
    failed: dict[int, bool] = field(default_factory=dict)
    blocked: str = ""
    retries: int = 0
    avoid_until_us: dict[DeviceId, int] = field(default_factory=dict)
    traffic: Traffic = field(default_factory=Traffic)
    scale: Scale = field(default_factory=Scale)
    settled: bool = False
    review_us: int = 0
    moved_us: int | None = None
    told_us: int | None = None
    told_wish: str = ""


@dataclass(slots=True)
class State:
    """The whole. `epoch` is None while somebody else leads.

    `loans` stand in the bucket beside `placed`, and count as replicas of no function; `taken_back` is by wish.
    `books` say what that means for each device (`packing.books` brings them up to date with what is stale); whoever
    changes what a key stands for says so with `changed`. `starving`: who holds less than it needs because devices are
    full, and which devices.
    """

    epoch: int | None = None
    replicas_named: int = 0
    loans_named: int = 0
    wake_at_us: int | None = None
    ticked_us: int = 0
    nodes: dict[NodeId, Node] = field(default_factory=dict)
    gateways: dict[GatewayId, Gateway] = field(default_factory=dict)
    functions: dict[FunctionName, FunctionState] = field(default_factory=dict)
    placed: dict[Key, Placed] = field(default_factory=dict)
    loans: dict[Key, Loan] = field(default_factory=dict)
    taken_back: dict[str, TakenBack] = field(default_factory=dict)
    reported: dict[Key, Reported] = field(default_factory=dict)
    departing: dict[Key, Placement] = field(default_factory=dict)
    tables: dict[str, KnownTable] = field(default_factory=dict)
    dirty: dict[FunctionName, bool] = field(default_factory=dict)
    books: Books = field(default_factory=Books)
    stale_keys: dict[Key, bool] = field(default_factory=dict)
    stale_nodes: dict[NodeId, bool] = field(default_factory=dict)
    keys_on: dict[NodeId, dict[Key, bool]] = field(default_factory=dict)
    leaving: dict[Key, Placed] = field(default_factory=dict)
    understudies: dict[Key, Placed] = field(default_factory=dict)
    names: dict[ReplicaId, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    parts: int = 1
    changed_us: int = 0
    consolidated_us: int | None = None
    attempts: int = 0
    exodus: tuple[tuple[Key, DeviceId], ...] = ()
    starving: dict[FunctionName, tuple[DeviceId, ...]] = field(default_factory=dict)

    def changed(self, node: NodeId, key: Key) -> None:
        """What this key of a node stands for is another now."""
        self.stale_keys[key] = True
        if key in self.placed or key in self.loans or key in self.reported:
            self.keys_on.setdefault(node, {})[key] = True
        elif node in self.keys_on:
            self.keys_on[node].pop(key, None)
            if not self.keys_on[node]:
                del self.keys_on[node]

    def is_reported(self, replica: ReplicaId) -> bool:
        """Whether some node has a replica of this name."""
        return replica in self.names

    def add_reported(self, key: Key, reported: Reported) -> None:
        """A node has a replica, as this."""
        status = reported.status
        if key not in self.reported:
            self.names[status.replica] = self.names.get(status.replica, 0) + 1
        self.reported[key] = reported
        self.changed(status.node, key)

    def drop_reported(self, node: NodeId, key: Key) -> Reported | None:
        """A node has this replica no longer."""
        self.departing.pop(key, None)
        reported = self.reported.pop(key, None)
        if reported is not None:
            replica = reported.status.replica
            count = self.names.pop(replica) - 1
            if count:
                self.names[replica] = count
        self.changed(node, key)
        return reported

    def node_changed(self, node: NodeId) -> None:
        """A node, or a device of it, is another now: what stands there may mean something else."""
        self.stale_nodes[node] = True
        for key in self.keys_on.get(node, ()):
            self.stale_keys[key] = True

    def put_device(self, node: Node, view: DeviceView) -> None:
        """A node has a device, as this."""
        known = node.devices.get(view.device.device)
        if known is not None:
            self._count_kind(known, -1)
        node.devices[view.device.device] = view
        self._count_kind(view, 1)

    def forget_node(self, name: NodeId) -> None:
        """Nothing is known of this node any more."""
        for view in self.nodes.pop(name).devices.values():
            self._count_kind(view, -1)
        self.node_changed(name)

    def _count_kind(self, view: DeviceView, more: int) -> None:
        count = self.kinds.pop(view.device.kind, 0) + more
        if count:
            self.kinds[view.device.kind] = count

    widest: dict[str, int] | None = None
    """The chunks of the largest device of each kind, those with most devices first; None: to be counted anew."""

    def function(self, name: FunctionName) -> FunctionState:
        """The function of this name, from now on known."""
        found = self.functions.get(name)
        if found is None:
            found = self.functions[name] = FunctionState(name)
        return found

    def starve(self, name: FunctionName, devices: tuple[DeviceId, ...]) -> None:
        """This function needs more of these devices than it can have there; none: it has what it needs."""
        if devices:
            self.starving[name] = devices
        else:
            self.starving.pop(name, None)

    def touch(self, name: FunctionName) -> None:
        """Have this function planned again."""
        self.dirty[name] = True

    def touch_blocked(self) -> None:
        """Room may have appeared: plan again whoever waits for some."""
        for function in self.functions.values():
            if function.blocked:
                self.touch(function.name)

    def touch_model(self, digest: Digest) -> None:
        """What this model does is known anew: plan its functions again, which may be settled."""
        for function in self.functions.values():
            if function.spec is not None and function.spec.model.digest == digest:
                self.touch(function.name)

    def touch_awaiting_loan(self) -> None:
        """Plan again whoever waits for memory that was lent. Nobody else: loans move no decision about functions."""
        for function in self.functions.values():
            if function.blocked == AWAITS_LOAN:
                self.touch(function.name)

    def touch_placed_on(self, node: NodeId) -> None:
        """Plan again whoever has a replica on this node."""
        for key in self.keys_on.get(node, ()):
            placed = self.placed.get(key)
            if placed is not None:
                self.touch(placed.placement.function.name)

    def add_placed(self, placed: Placed) -> None:
        """A placement stands or is on its way."""
        for earlier in (self.leaving, self.understudies):
            earlier.pop(placed.key, None)
        self.placed[placed.key] = placed
        self.function(placed.placement.function.name).placed[placed.key] = placed
        if placed.is_understudy:
            self.understudies[placed.key] = placed
        self.changed(placed.placement.node, placed.key)

    def add_loan(self, loan: Loan) -> None:
        """A loan stands or is on its way."""
        self.loans[loan.placed.key] = loan
        self.changed(loan.placed.placement.node, loan.placed.key)

    def leave(self, placed: Placed) -> None:
        """A placement's removal was commanded."""
        placed.leaving = True
        if not placed.placement.loan:
            self.leaving[placed.key] = placed
        self.changed(placed.placement.node, placed.key)

    def take_over(self, understudy: Placed) -> None:
        """An understudy counts as a replica from now on."""
        understudy.replaces = ""
        self.understudies.pop(understudy.key, None)

    def drop_placed(self, key: Key) -> Placed | None:
        """A placement stands no more; its replica may still be there, and hold its memory."""
        placed = self.placed.pop(key, None)
        if placed is None:
            return None
        self.function(placed.placement.function.name).placed.pop(key, None)
        self.leaving.pop(key, None)
        self.understudies.pop(key, None)
        if key in self.reported:
            self.departing[key] = placed.placement
        self.changed(placed.placement.node, key)
        return placed

    def loan_for(self, wish: str) -> Loan | None:
        """The loan of this wish: one that stands before one that is on its way out."""
        named = [loan for loan in self.loans.values() if loan.placed.placement.loan == wish]
        return min(named, key=lambda loan: (loan.placed.leaving, loan.placed.overtaken), default=None)

    def drop_loan(self, key: Key) -> Loan | None:
        """A loan stands no more; its replica may still be there, and hold its memory."""
        loan = self.loans.pop(key, None)
        if loan is None:
            return None
        self.leaving.pop(key, None)
        if key in self.reported:
            self.departing[key] = loan.placed.placement
        self.changed(loan.placed.placement.node, key)
        return loan
