"""The replicas a gateway may send to, and the choice among them: the one expected to finish first."""

from collections.abc import Mapping

from fastgshare.gateway.core.estimate import Estimate
from fastgshare.gateway.core.tickets import Ticket
from fastgshare.shared import subjects
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, HostId, NodeId, ReplicaId, RequestId
from fastgshare.shared.messages import Profile, ReplicaState, ReplicaStatus
from fastgshare.shared.tables import Table

NODE_SILENT_US = 2_500_000
IDLE_US = 500_000
ABSENT_US = 500_000


class Target:
    """One replica as this gateway knows it: its status and what this gateway has outstanding there."""

    __slots__ = ("depth", "estimate", "outstanding", "outstanding_rows", "sent_us", "status")

    def __init__(self, status: ReplicaStatus) -> None:
        self.status = status
        self.estimate = Estimate()
        self.outstanding: dict[RequestId, Ticket] = {}
        self.outstanding_rows = 0
        self.depth = 0
        self.sent_us = 0

    @property
    def waiting_rows(self) -> int:
        """Rows ahead of a new request: ours, or what the replica last reported when others send there too."""
        outstanding, depth = self.outstanding_rows, self.depth
        return outstanding if outstanding > depth else depth

    def add(self, ticket: Ticket) -> None:
        self.outstanding[ticket.request_id] = ticket
        self.outstanding_rows += ticket.rows
        self.sent_us = ticket.dispatched_us

    def remove(self, ticket: Ticket) -> None:
        if self.outstanding.pop(ticket.request_id, None) is not None:
            self.outstanding_rows -= ticket.rows

    def take_outstanding(self) -> list[Ticket]:
        """Remove and return everything outstanding."""
        tickets = list(self.outstanding.values())
        self.outstanding.clear()
        self.outstanding_rows = 0
        return tickets

    def finish_us(self, ticket: Ticket, now_us: int) -> int:
        """How long this replica would take for `ticket`.

        What it took last time says little about a replica that has been idle since: before that keeps anyone
        out, for ever perhaps, because nothing would be learned any more, only the table counts.
        """
        waiting = self.waiting_rows
        finish_us = self.estimate.finish_us(waiting, ticket.rows)
        idle = not waiting and now_us - self.sent_us >= IDLE_US
        if idle and now_us + finish_us > ticket.deadline_us:
            self.estimate.forget_contention()
            return self.estimate.finish_us(0, ticket.rows)
        return finish_us


class Fleet:
    """All known replicas by function, with node liveness; `version` grows with each change that callers could see."""

    def __init__(self) -> None:
        self.targets: dict[ReplicaId, Target] = {}
        self.version = 0
        self._ready: dict[FunctionName, list[Target]] = {}
        self._newest: dict[FunctionName, Target] = {}
        self._by_function: dict[FunctionName, dict[ReplicaId, Target]] = {}
        self._node_seen_us: dict[NodeId, int] = {}
        self._absent_until_us: dict[ReplicaId, int] = {}
        self._tables: dict[tuple[Digest, str], Table | None] = {}

    def update(self, status: ReplicaStatus, now_us: int) -> Target | None:
        """Take a replica's new status. Returns its former self when what was outstanding there is lost.

        The status may be all that is left of a node: one never heard of has as long as any to speak up.
        """
        self._node_seen_us.setdefault(status.node, now_us)
        self._absent_until_us.pop(status.replica, None)
        old = self.targets.get(status.replica)
        same_life = old is not None and old.status.incarnation == status.incarnation
        if old is not None and same_life and status.state is not ReplicaState.FAILED:
            old.status = status
            self._give_table(old)
            self._refresh(status.function)
            return None
        target = Target(status)
        self._give_table(target)
        self.targets[status.replica] = target
        self._by_function.setdefault(status.function, {})[status.replica] = target
        self._refresh(status.function)
        return old

    def remove(self, replica: ReplicaId) -> Target | None:
        """Forget a replica; its former self, with what was outstanding there."""
        target = self.targets.pop(replica, None)
        self._absent_until_us.pop(replica, None)
        if target is not None:
            function = target.status.function
            del self._by_function[function][replica]
            self._refresh(function)
        return target

    def of(self, function: FunctionName) -> list[Target]:
        """Every replica of a function, in whatever state."""
        return list(self._by_function.get(function, {}).values())

    def ready(self, function: FunctionName) -> list[Target]:
        """The replicas that requests may go to."""
        return self._ready.get(function, [])

    def newest(self, function: FunctionName) -> Target | None:
        """The first ready replica of the newest generation that has one."""
        return self._newest.get(function)

    def learn_profile(self, profile: Profile) -> None:
        """Give a table, as it stands now, to every replica that runs its model on its kind of device."""
        about = (profile.model_digest, profile.device_kind)
        self._tables[about] = Table.of(profile)
        for target in self.targets.values():
            if (target.status.model_digest, target.status.device_kind) == about:
                self._give_table(target)

    def forget_profile(self, key: str) -> None:
        """A table was removed. Replicas that are known go on by what it said: it is forgotten where there is none."""
        users = {(target.status.model_digest, target.status.device_kind) for target in self.targets.values()}
        for about in self._tables.keys() - users:
            if subjects.profile_key(*about) == key:
                del self._tables[about]

    def node_seen(self, node: NodeId, depth: Mapping[ReplicaId, int], now_us: int) -> None:
        """A heartbeat arrived. Depths in it are older than those in notices, but they end where notices do not."""
        for replica, waiting in depth.items():
            target = self.targets.get(replica)
            if target is not None:
                target.depth = min(target.depth, waiting)
        silent = now_us - self._node_seen_us.get(node, 0) > NODE_SILENT_US
        self._node_seen_us[node] = now_us
        if silent:
            self._refresh_all()

    def all_seen(self, now_us: int) -> None:
        """Start the patience anew for every node not given up yet: the silence was on our side."""
        for node, seen_us in self._node_seen_us.items():
            self._node_seen_us[node] = now_us if seen_us else 0

    def silent_targets(self, now_us: int) -> list[Target]:
        """Replicas whose node has not been heard for too long, once."""
        silent = {node for node, seen in self._node_seen_us.items() if seen and now_us - seen > NODE_SILENT_US}
        if not silent:
            return []
        for node in silent:
            self._node_seen_us[node] = 0
        self._refresh_all()
        return [target for target in self.targets.values() if target.status.node in silent]

    def absent(self, replica: ReplicaId, now_us: int) -> list[Target]:
        """Nobody listens there, whatever its status says: leave it out for a while. The replica, if it is known.

        Not until it says something new: its worker may be back, and the news of that overtaken by this.
        """
        target = self.targets.get(replica)
        if target is None:
            return []
        self._absent_until_us[replica] = now_us + ABSENT_US
        self._refresh(target.status.function)
        return [target]

    def is_there(self, target: Target) -> bool:
        """Whether the life of a replica that `target` is goes on, as far as is known."""
        replica = target.status.replica
        return self.targets.get(replica) is target and replica not in self._absent_until_us

    def look_again(self, now_us: int) -> None:
        """Take those back that were absent for long enough."""
        for replica in [replica for replica, until_us in self._absent_until_us.items() if until_us <= now_us]:
            del self._absent_until_us[replica]
            self._refresh(self.targets[replica].status.function)

    def device_back(self, device: DeviceId) -> list[Target]:
        """A device's worker listens again: every replica of it."""
        targets = [target for target in self.targets.values() if target.status.device == device]
        for target in targets:
            if self._absent_until_us.pop(target.status.replica, None) is not None:
                self._refresh(target.status.function)
        return targets

    def choose(self, function: FunctionName, host: HostId | None, rows: int) -> Target | None:
        """The ready replica expected to finish `rows` more rows first, on `host` if given."""
        candidates = self._ready.get(function)
        if not candidates:
            return None
        if len(candidates) == 1 and host is None:
            return candidates[0]
        best: Target | None = None
        best_us = best_waiting = 0
        own = rows - 1
        for target in candidates:
            if host is not None and target.status.host != host:
                continue
            waiting = target.outstanding_rows
            if target.depth > waiting:
                waiting = target.depth
            estimate = target.estimate
            finish_us = int(estimate.start_us + (waiting + own) * estimate.row_us)  # as its `finish_us`
            if best is None or finish_us < best_us or (finish_us == best_us and waiting < best_waiting):
                best, best_us, best_waiting = target, finish_us, waiting
        return best

    def _give_table(self, target: Target) -> None:
        status = target.status
        table = self._tables.get((status.model_digest, status.device_kind))
        target.estimate.learn_table(table, status.slice, status.max_batch)

    def _refresh(self, function: FunctionName) -> None:
        self.version += 1
        known = self._by_function.get(function, {}).values()
        ready = self._ready[function] = [target for target in known if self._takes_requests(target.status)]
        if ready:
            self._newest[function] = max(ready, key=lambda target: target.status.generation)
        else:
            self._newest.pop(function, None)

    def _takes_requests(self, status: ReplicaStatus) -> bool:
        ready = status.state is ReplicaState.READY and self._node_seen_us[status.node] > 0
        return ready and status.replica not in self._absent_until_us

    def _refresh_all(self) -> None:
        for function in self._by_function:
            self._refresh(function)
