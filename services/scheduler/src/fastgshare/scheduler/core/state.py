"""Everything the scheduler believes, as plain data; changed by `fold` (facts) and `plan` (decisions) only.

Iteration is always over dictionaries in insertion order or over sorted keys, never over sets of strings, so that
the same events lead to the same decisions in every process.
"""

from dataclasses import dataclass, field

from fastgshare.scheduler.core.books import Books, Key
from fastgshare.scheduler.core.records import (
    AWAITS_LOAN,
    Consolidation,
    DeviceView,
    FunctionState,
    Gateway,
    KnownTable,
    Loan,
    Node,
    Placed,
    Reported,
    TakenBack,
)
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, GatewayId, NodeId, ReplicaId
from fastgshare.shared.messages import Placement


@dataclass(slots=True)
class State:
    """The whole. `epoch` is None while somebody else leads.

    `loans` stand in the bucket beside `placed`, and count as replicas of no function; `taken_back` is by wish.
    `books` say what that means for each device (`packing.books` brings them up to date with what is stale); whoever
    changes what a key stands for says so with `changed`. `changed_us`: when a replica was last placed on a device or
    removed from it in this term, which began at `led_us`. `starving`: who holds less than it needs because devices are
    full, and which devices. `looked_us`: when moves on a device were last searched for with much effort.
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
    changed_us: dict[DeviceId, int] = field(default_factory=dict)
    led_us: int = 0
    consolidation: Consolidation = field(default_factory=Consolidation)
    menus_made: int = 0
    starving: dict[FunctionName, tuple[DeviceId, ...]] = field(default_factory=dict)
    looked_us: dict[DeviceId, int] = field(default_factory=dict)
    widest: dict[str, int] | None = None
    """The chunks of the largest device of each kind, those with most devices first; None: to be counted anew."""

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
        self.widest = None
        for key in self.keys_on.get(node, ()):
            self.stale_keys[key] = True

    def put_device(self, node: Node, view: DeviceView) -> None:
        """A node has a device, as this."""
        known = node.devices.get(view.device.device)
        if known is not None:
            self._count_kind(known, -1)
        node.devices[view.device.device] = view
        self._count_kind(view, 1)

    def suits(self, placed: Placed, node: NodeId, device: DeviceId) -> bool:
        """Whether a replica does the same there: on a device of the same kind, if its slice was chosen for one."""
        placement = placed.placement
        is_sized = self.function(placement.function.name).is_sized
        return not is_sized or self.kind_of(node, device) == self.kind_of(placement.node, placement.device)

    def kind_of(self, name: NodeId, device: DeviceId) -> str:
        """Of what kind a device is; empty: not known."""
        node = self.nodes.get(name)
        view = node.devices.get(device) if node is not None else None
        return view.device.kind if view is not None else ""

    def forget_node(self, name: NodeId) -> None:
        """Nothing is known of this node any more."""
        for view in self.nodes.pop(name).devices.values():
            self._count_kind(view, -1)
        self.node_changed(name)

    def _count_kind(self, view: DeviceView, more: int) -> None:
        count = self.kinds.pop(view.device.kind, 0) + more
        if count:
            self.kinds[view.device.kind] = count

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

    def rewrite(self, placed: Placed, found: Placement) -> None:
        """This stands in its place in the bucket, whoever wrote it; what else is known of it stays."""
        placed.placement, placed.resized_from, placed.confirmed = found, None, True
        if not found.loan:
            placed.replaces = found.replaces
            self.understudies.pop(placed.key, None)
            if placed.is_understudy:
                self.understudies[placed.key] = placed
        self.changed(found.node, placed.key)

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
