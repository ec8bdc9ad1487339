"""The functions, replicas and traffic a profiler knows of, and which replicas it may measure on.

What has not been heard is not there: a replica counts while its node's heartbeats arrive. What is not known
to be quiet is not quiet: a function counts as busy until two seconds passed in which no gateway told of
requests.
"""

from dataclasses import dataclass

from fastgshare.profiler.core.keys import TableKey, key_of
from fastgshare.profiler.core.plan import Plan
from fastgshare.shared.ids import FunctionName, GatewayId, NodeId, ReplicaId
from fastgshare.shared.messages import FunctionLoad, FunctionSpec, GatewayLoad, NodeStatus, ReplicaState, ReplicaStatus
from fastgshare.shared.units import US_PER_MS, US_PER_S, ms_to_us

LEAST_SILENCE_US = 2 * US_PER_S
MISSED_HEARTBEATS = 4
QUIET_US = 2 * US_PER_S
GATEWAY_FORGOTTEN_US = 60 * US_PER_S


class Fleet:
    """Functions by name, replicas by the table they share, nodes by when they were last heard."""

    def __init__(self) -> None:
        self.functions: dict[FunctionName, FunctionSpec] = {}
        self._replicas: dict[ReplicaId, ReplicaStatus] = {}
        self._sharing: dict[TableKey, dict[ReplicaId, ReplicaStatus]] = {}
        self._there_until_us: dict[NodeId, int] = {}

    def define(self, function: FunctionName, spec: FunctionSpec | None) -> None:
        """A function as it is deployed now; None forgets it."""
        if spec is None:
            self.functions.pop(function, None)
        else:
            self.functions[function] = spec

    def update(self, replica: ReplicaId, status: ReplicaStatus | None) -> None:
        """A replica as its node reports it now; None forgets it."""
        old = self._replicas.pop(replica, None)
        if old is not None:
            self._sharing[key_of(old)].pop(replica, None)
        if status is not None:
            self._replicas[replica] = status
            self._sharing.setdefault(key_of(status), {})[replica] = status

    def node_heard(self, status: NodeStatus, now_us: int) -> None:
        """A heartbeat arrived: the node is there until it misses a few."""
        silence_us = max(LEAST_SILENCE_US, MISSED_HEARTBEATS * status.interval_ms * US_PER_MS)
        self._there_until_us[status.node] = now_us + silence_us

    def keys(self) -> list[TableKey]:
        """The tables that replicas share now."""
        return sorted(key for key, sharing in self._sharing.items() if sharing)

    def ready(self, key: TableKey, now_us: int) -> list[ReplicaStatus]:
        """The replicas of deployed functions that could measure for `key`, in a stable order."""
        sharing = self._sharing.get(key, {})
        return [sharing[replica] for replica in sorted(sharing) if self._is_ready(sharing[replica], now_us)]

    def ready_keys(self, spec: FunctionSpec, now_us: int) -> list[TableKey]:
        """The tables of a function's present model on the devices where it is ready."""
        return [
            key
            for key in self.keys()
            if any(
                status.function == spec.name and status.model_digest == spec.model.digest
                for status in self.ready(key, now_us)
            )
        ]

    def is_same_life(self, status: ReplicaStatus) -> bool:
        """Whether a replica still is as ready as it was when it had `status`."""
        now = self._replicas.get(status.replica)
        return now is not None and (now.incarnation, now.state) == (status.incarnation, ReplicaState.READY)

    def state_of(self, replica: ReplicaId) -> ReplicaState | None:
        """A replica's state, or None when it is gone."""
        status = self._replicas.get(replica)
        return None if status is None else status.state

    def failure_of(self, function: FunctionName) -> str:
        """Why a replica of a function failed, for people; empty where none did."""
        failed = [
            status.reason
            for status in self._replicas.values()
            if status.function == function and status.state is ReplicaState.FAILED
        ]
        return failed[-1] if failed else ""

    def plan(self, ready: list[ReplicaStatus]) -> Plan:
        """The sizes of interest to at least one of `ready`."""
        return Plan(
            max_batch=max(status.max_batch for status in ready),
            objective_us=max(ms_to_us(self.functions[status.function].slo_ms) for status in ready),
        )

    def _is_ready(self, status: ReplicaStatus, now_us: int) -> bool:
        return (
            status.state is ReplicaState.READY
            and status.function in self.functions
            and now_us < self._there_until_us.get(status.node, 0)
        )


@dataclass(slots=True)
class _Gateway:
    incarnation: str
    heard_us: int
    functions: dict[FunctionName, FunctionLoad]


class Traffic:
    """When each function last had requests, from the gateways' counts."""

    def __init__(self, started_us: int) -> None:
        self._started_us = started_us
        self._busy_us: dict[FunctionName, int] = {}
        self._gateways: dict[GatewayId, _Gateway] = {}

    def heard(self, load: GatewayLoad, now_us: int) -> None:
        """A gateway's counts arrived; of one never heard before they only say what is going on now."""
        known = self._gateways.get(load.gateway)
        before = known.functions if known is not None else load.functions
        if known is not None and known.incarnation != load.incarnation:
            before = {}
        for function, counts in load.functions.items():
            arrived = counts.arrived - before.get(function, FunctionLoad()).arrived
            if arrived > 0 or counts.outstanding or counts.held:
                self._busy_us[function] = now_us
        self._gateways[load.gateway] = _Gateway(load.incarnation, now_us, load.functions)
        self._forget_silent(now_us)

    def is_quiet(self, function: FunctionName, now_us: int) -> bool:
        """Whether the function had no request for two seconds, as far as anyone listened."""
        return now_us - self._busy_us.get(function, self._started_us) >= QUIET_US

    def _forget_silent(self, now_us: int) -> None:
        oldest_us = now_us - GATEWAY_FORGOTTEN_US
        self._gateways = {name: gateway for name, gateway in self._gateways.items() if gateway.heard_us >= oldest_us}
        self._busy_us = {function: at_us for function, at_us in self._busy_us.items() if at_us >= oldest_us}
