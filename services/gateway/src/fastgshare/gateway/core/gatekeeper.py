"""The gateway's decisions over one request's life.

admit → dispatch | hold | refuse; completed or answered → done; replica lost, or the bus came back → dispatch again;
deadline passed → the caller is told. Every queue is bounded. Time is an argument in Unix microseconds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fastgshare.gateway.core import refusals
from fastgshare.gateway.core.coldstart import ColdStarts
from fastgshare.gateway.core.ends import Ends
from fastgshare.gateway.core.fleet import Fleet, Target
from fastgshare.gateway.core.holding import Holding
from fastgshare.gateway.core.keeping import traced
from fastgshare.gateway.core.ledger import Ledger
from fastgshare.gateway.core.tickets import (
    JOB_DOOR,
    Action,
    Counters,
    Dispatch,
    RaiseDemand,
    Recall,
    Refuse,
    Ticket,
    Watch,
)
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.ids import DeviceId, FunctionName, NodeId, ReplicaId, RequestId
from fastgshare.shared.messages import (
    Completion,
    DoneNotice,
    FunctionLoad,
    FunctionSpec,
    InferRequest,
    Profile,
    ReplicaState,
    ReplicaStatus,
    Signature,
)
from fastgshare.shared.tensors import problem_with_inputs
from fastgshare.shared.units import US_PER_MS, ms_to_us

MAX_LOSSES = 4
DEMAND_INTERVAL_US = 250_000
TICK_LATE_US = 1_000_000
LAST_COUNTS_US = 60_000_000
"""How long a removed function's counts are still told, for those who ask at intervals."""
RETURN_US = 10_000_000
NO_DEPTHS: Mapping[ReplicaId, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the gateway's queues: requests held per function, rows per replica, bytes and requests in all."""

    held_per_function: int = 256
    rows_per_replica: int = 2048
    payload_bytes: int = 512 << 20
    requests: int = 32_768


class Gatekeeper:
    """Everything one gateway knows, and what it decides from it."""

    def __init__(self, limits: Limits) -> None:
        self.fleet = Fleet()
        self.functions: dict[FunctionName, FunctionSpec] = {}
        self.counters: dict[FunctionName, Counters] = {}
        self.cold_starts = ColdStarts()
        self._limits = limits
        self._ledger = Ledger()
        self._holding = Holding(limits.held_per_function)
        self._demanded_us: dict[FunctionName, int] = {}
        self._left_us: dict[FunctionName, int] = {}
        self._removed_us: dict[FunctionName, int] = {}
        self._ticked_us = 0
        self._stopping = False
        self._ends = Ends(self.fleet, self._ledger, self._holding, self.counters, self.cold_starts)

    def watch(self, watch: Watch) -> None:
        """Tell `watch` of every request's end, once each."""
        self._ends.watch(watch)

    # What the world tells

    def function_defined(self, spec: FunctionSpec) -> None:
        self.functions[spec.name] = spec
        self._removed_us.pop(spec.name, None)

    def function_removed(self, function: FunctionName, now_us: int) -> list[Action]:
        self.functions.pop(function, None)
        self.cold_starts.forget(function)
        self._removed_us[function] = now_us
        return [
            self._ends.refuse(ticket, refusals.unknown(function), now_us) for ticket in self._holding.take(function)
        ]

    def profile_known(self, profile: Profile) -> None:
        self.fleet.learn_profile(profile)

    def profile_gone(self, key: str) -> None:
        self.fleet.forget_profile(key)

    def replica_reported(self, status: ReplicaStatus, now_us: int) -> list[Action]:
        """A replica changed: what was lost with it goes elsewhere, what was held may go to it."""
        if status.loan:  # it is there to be measured, and no request may go to it
            return []
        self.cold_starts.placed(status.function, now_us)
        lost = self.fleet.update(status, now_us)
        actions = self._after_loss([lost], now_us) if lost is not None else []
        return actions + self._release_held(status.function, now_us)

    def replica_removed(self, replica: ReplicaId, now_us: int) -> list[Action]:
        lost = self.fleet.remove(replica)
        if lost is not None and lost.status.state is not ReplicaState.FAILED:
            self._left_us[lost.status.function] = now_us
        return self._after_loss([lost], now_us) if lost is not None else []

    def node_seen(self, node: NodeId, now_us: int, depth: Mapping[ReplicaId, int] = NO_DEPTHS) -> None:
        """A node's heartbeat, with how many requests its replicas hold."""
        self.fleet.node_seen(node, depth, now_us)

    def heard_again(self, now_us: int) -> None:
        """The way heartbeats come was away: that nodes were silent says nothing."""
        self.fleet.all_seen(now_us)

    def reconnected(self, now_us: int) -> list[Action]:
        """The way requests go was away: anything in flight may be lost in either direction, answers too."""
        self.fleet.all_seen(now_us)
        return self._again(self.fleet.targets.values(), now_us)

    def worker_reconnected(self, device: DeviceId, now_us: int) -> list[Action]:
        """A device's worker is back on the bus; what was sent to it while it was away never arrived."""
        return self._again(self.fleet.device_back(device), now_us)

    # A request's life

    def admit(self, ticket: Ticket, request: InferRequest, now_us: int) -> Action | None:
        """Decide on an arriving request; None: it is held, or it is already here."""
        function = ticket.function
        spec = self.functions.get(function)
        if spec is None:
            return Refuse(ticket, refusals.unknown(function))
        if ticket.came_by != JOB_DOOR:
            ticket.objective_us = ticket.arrived_us + ms_to_us(spec.slo_ms)
        ledger = self._ledger
        known = ledger.tickets.get(ticket.request_id)
        if known is not None:
            return None if known.reply == ticket.reply else Refuse(ticket, refusals.taken(ticket.request_id))
        counters = self.counters.get(function)
        if counters is None:
            counters = self.counters[function] = Counters()
        counters.arrived += 1
        counters.last_us = now_us
        if ticket.deadline_us <= now_us:
            return self._ends.refuse(ticket, refusals.too_late(now_us - ticket.deadline_us), now_us)
        signature = self.signature(function)
        if signature is not None:
            problem = self._problem(request, function, signature)
            if problem is not None:
                return self._ends.refuse(
                    ticket, ErrorBody(ErrorCode.INVALID, f"function '{function}': {problem}"), now_us
                )
            ticket.rows = _rows(request, signature)
        if len(ledger.tickets) >= self._limits.requests:
            return self._ends.refuse(ticket, refusals.crowded(len(ledger)), now_us)
        if ledger.payload_bytes + len(ticket.payload) > self._limits.payload_bytes:
            return self._ends.refuse(ticket, refusals.full(ledger.payload_bytes), now_us)
        return self._place(ticket, now_us)

    def completed(self, notice: DoneNotice, now_us: int) -> None:
        """A worker finished with some attempts and answered their callers."""
        target = self.fleet.targets.get(notice.replica)
        if target is not None and target.status.incarnation == notice.incarnation:
            target.depth = notice.depth
        for completion in notice.completions:
            self._ends.finish(completion, completion.end_us or now_us)

    def answered(self, completion: Completion, now_us: int) -> None:
        """An answer came through this gateway: the same books as for a notice."""
        self._ends.finish(completion, now_us)

    def nobody_there(self, request_id: RequestId, now_us: int) -> list[Action]:
        """The server says that nobody took this request: its replica is not where its status says.

        What else is outstanding there went the same way. No attempt was made, so nothing counts as a loss.
        """
        ticket = self._ledger.get(request_id)
        if ticket is None or ticket.replica is None:
            return []
        return self._again(self.fleet.absent(ticket.replica, now_us), now_us)

    def gave_up(self, request_id: RequestId, now_us: int, timed_out: bool = False) -> list[Action]:
        """The caller left, or was told that its deadline passed (`timed_out`). Fine if the request has ended.

        Whoever waits says which it was: timers fire a little early by this clock.
        """
        return self._ends.give_up(request_id, now_us, timed_out)

    def withdrawn(self, request_id: RequestId, now_us: int, first_part_us: int | None = None) -> list[Action]:
        """A caller on the bus does not want its answer any more, and gets none.

        Of an answer in parts it may say how long the first took to come. Those whose answer goes through this gateway
        have no name on the bus: their doors give them up.
        """
        ticket = self._ledger.get(request_id)
        if ticket is None or not ticket.notice:
            return []
        if first_part_us is not None and ticket.latest is not None:
            ticket.first_us = min(ticket.arrived_us + first_part_us, now_us)
        return self.gave_up(request_id, now_us)

    def stop(self, now_us: int) -> list[Action]:
        """This gateway goes: whoever waits here for a replica had better ask another, now and from now on."""
        self._stopping = True
        return [self._ends.hand_back(ticket, now_us) for ticket in self._holding.take_those_that_may_go()]

    def tick(self, now_us: int, connected: bool) -> list[Action]:
        """Periodic: silent nodes, passed deadlines, demand that still stands."""
        if now_us - self._ticked_us > TICK_LATE_US:  # who was deaf cannot tell that others were silent
            self.fleet.all_seen(now_us)
        self._ticked_us = now_us
        self.fleet.look_again(now_us)
        actions: list[Action] = []
        if connected:
            actions += self._after_loss(self.fleet.silent_targets(now_us), now_us)
        for ticket in self._holding.take_expired(now_us):
            actions.append(self._ends.refuse(ticket, refusals.too_late(now_us - ticket.deadline_us), now_us))
        for function in self._holding.functions():
            actions += self._release_held(function, now_us)
            if self._holding.count(function):
                actions += self._demand(function, now_us)
        actions += self._ends.forget_overdue(now_us)
        self._forget_removed(now_us)
        return actions

    # What others ask

    def is_taken(self, request_id: RequestId, reply: str) -> bool:
        """Whether another caller's request is open under this id."""
        known = self._ledger.get(request_id)
        return known is not None and known.reply != reply

    def signature(self, function: FunctionName) -> Signature | None:
        """What the function takes and gives, from its newest ready replica."""
        newest = self.fleet.newest(function)
        return newest.status.signature if newest is not None else None

    def loads(self) -> dict[FunctionName, FunctionLoad]:
        """Per function, what the scheduler needs."""
        outstanding: dict[FunctionName, int] = {}
        for target in self.fleet.targets.values():
            function = target.status.function
            outstanding[function] = outstanding.get(function, 0) + len(target.outstanding)
        return {
            function: counters.load(outstanding.get(function, 0), self._holding.count(function))
            for function, counters in self.counters.items()
        }

    @property
    def payload_bytes(self) -> int:
        """Bytes that the payloads of open requests take."""
        return self._ledger.payload_bytes

    @property
    def in_flight(self) -> int:
        """Requests neither answered nor refused yet."""
        return len(self._ledger)

    # How

    def _problem(self, request: InferRequest, function: FunctionName, signature: Signature) -> str | None:
        max_batch = self.functions[function].max_batch if signature.batched else 0
        return problem_with_inputs(request.inputs, signature.inputs, max_batch)

    def _place(self, ticket: Ticket, now_us: int) -> Action | None:
        """Dispatch, hold, or refuse a ticket that is not anywhere yet."""
        target = self.fleet.choose(ticket.function, ticket.host, ticket.rows)
        if target is None:
            return self._no_target(ticket, now_us)
        finish_us = target.finish_us(ticket, now_us)
        margin_us = target.estimate.margin_us if target.outstanding else 0
        late_us = now_us + finish_us + margin_us - ticket.deadline_us
        if late_us > 0:
            message = f"function '{ticket.function}' would answer {late_us / US_PER_MS:.0f} ms after the deadline"
            return self._ends.refuse(ticket, refusals.overloaded(message, late_us), now_us)
        if target.waiting_rows + ticket.rows > self._limits.rows_per_replica:
            message = f"function '{ticket.function}' has {target.waiting_rows} rows waiting, the limit"
            return self._ends.refuse(ticket, refusals.overloaded(message, finish_us), now_us)
        return self._dispatch(ticket, target, finish_us, now_us)

    def _dispatch(self, ticket: Ticket, target: Target, finish_us: int, now_us: int) -> Dispatch:
        ticket.attempts += 1
        replica = ticket.replica = target.status.replica
        ticket.dispatched_us = now_us
        ticket.predicted_us = finish_us
        ticket.rows_ahead = target.waiting_rows + ticket.rows - 1
        attempt = ticket.latest = ticket.attempt_id
        self._ledger.open(ticket)
        target.add(ticket)
        return Dispatch(ticket, replica, attempt)

    def _no_target(self, ticket: Ticket, now_us: int) -> Action | None:
        function = ticket.function
        if ticket.host is not None and self.fleet.ready(function):
            message = f"no replica of '{function}' shares memory with host {ticket.host}: send the tensors inline"
            return self._ends.refuse(ticket, ErrorBody(ErrorCode.TENSOR_UNREACHABLE, message), now_us)
        if self.functions[function].replicas == 0:
            return self._ends.refuse(ticket, refusals.at_zero(function), now_us)
        failure = self._failure(function, now_us)
        if failure is not None:
            return self._ends.refuse(ticket, ErrorBody(ErrorCode.UNAVAILABLE, failure, 1000), now_us)
        if self._stopping and ticket.notice:
            return self._ends.hand_back(ticket, now_us)
        if self._holding.is_full(function):
            count = self._holding.count(function)
            message = f"function '{function}' has no ready replica and {count} requests wait for one, the limit"
            return self._ends.refuse(ticket, ErrorBody(ErrorCode.UNAVAILABLE, message, 1000), now_us)
        self._ledger.open(ticket)
        ticket.replica = None
        ticket.held_us = now_us
        self.cold_starts.held(function, now_us, not self.fleet.of(function), not self._holding.count(function))
        self._holding.add(ticket)
        demand = self._demand(function, now_us)
        return demand[0] if demand else None

    def _failure(self, function: FunctionName, now_us: int) -> str | None:
        """Why waiting for a replica is hopeless: the newest generation failed and nothing else is coming up.

        One that left a moment ago may: its node may be starting again.
        """
        if now_us - self._left_us.get(function, 0) < RETURN_US:
            return None
        targets = self.fleet.of(function)
        failed = [t.status for t in targets if t.status.state is ReplicaState.FAILED and not t.status.transient]
        if not failed or len(failed) < len(targets):
            return None
        newest = max(failed, key=lambda status: status.generation)
        if newest.generation < self.functions[function].generation:
            return None
        return f"function '{function}' failed to start: {newest.reason}"

    def _after_loss(self, lost: Iterable[Target], now_us: int) -> list[Action]:
        """Replicas are gone, and what was outstanding there with them."""
        lost = list(lost)
        for target in lost:
            for ticket in target.outstanding.values():
                ticket.losses += 1
        return self._again(lost, now_us)

    def _again(self, targets: Iterable[Target], now_us: int) -> list[Action]:
        """What is outstanding there tries elsewhere, or the same place in its next life; each request once.

        Where the same life goes on it is told to let go of the attempt: two runs of a stream would break it.
        """
        actions: list[Action] = []
        tickets: list[Ticket] = []
        for target in targets:
            taken = target.take_outstanding()
            tickets += taken
            if self.fleet.is_there(target):
                actions += [Recall(target.status.replica, ticket.attempt_id) for ticket in taken]
        for ticket in tickets:
            ticket.lost += (traced(ticket, self.fleet, now_us),)
            action = self._try_again(ticket, now_us)
            if action is not None:
                actions.append(action)
        return actions

    def _try_again(self, ticket: Ticket, now_us: int) -> Action | None:
        self._ledger.close(ticket.request_id)
        self.counters[ticket.function].retried += 1
        if ticket.losses >= MAX_LOSSES:
            message = f"lost {ticket.losses} times with its replica"
            return self._ends.refuse(ticket, ErrorBody(ErrorCode.UNAVAILABLE, message, 1000, ticket.losses), now_us)
        if ticket.deadline_us <= now_us:
            return self._ends.refuse(ticket, refusals.too_late(now_us - ticket.deadline_us), now_us)
        if ticket.function not in self.functions:
            return self._ends.refuse(ticket, refusals.unknown(ticket.function), now_us)
        return self._place(ticket, now_us)

    def _release_held(self, function: FunctionName, now_us: int) -> list[Action]:
        if not self._holding.count(function):
            return []
        hopeless = self.functions[function].replicas == 0 or self._failure(function, now_us)
        if not (self.fleet.ready(function) or hopeless):
            return []
        if not hopeless:
            self.cold_starts.released(function, now_us)
        actions: list[Action] = []
        for ticket in self._holding.take(function):
            self._ledger.close(ticket.request_id)
            action = self._place(ticket, now_us)
            if action is not None:
                actions.append(action)
        return actions

    def _demand(self, function: FunctionName, now_us: int) -> list[Action]:
        if now_us - self._demanded_us.get(function, 0) < DEMAND_INTERVAL_US:
            return []
        self._demanded_us[function] = now_us
        return [RaiseDemand(function, self._holding.count(function))]

    def _forget_removed(self, now_us: int) -> None:
        """Let go of functions that were removed a while ago, once nothing of theirs is open."""
        long_gone = [name for name, at_us in self._removed_us.items() if now_us - at_us >= LAST_COUNTS_US]
        if not long_gone:
            return
        still_open = {ticket.function for ticket in self._ledger.tickets.values()}
        for function in long_gone:
            if function not in still_open:
                self.cold_starts.forget_counts(function)
                for known in (self.counters, self._demanded_us, self._left_us, self._removed_us):
                    known.pop(function, None)


def _rows(request: InferRequest, signature: Signature) -> int:
    if not signature.batched or not request.inputs or not request.inputs[0].shape:
        return 1
    return request.inputs[0].shape[0]
