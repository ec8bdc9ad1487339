"""Desired against actual on one device: which replicas to load, which to drain, what to report.

Facts come in (placements changed, the worker reported, the worker died), commands and statuses come out.

A placement is the newest word on its replica alone, so epochs are compared per replica: one of a lower epoch than
stands here for the same replica is refused, as its leader has been succeeded. Those of different replicas are of mixed
epochs in any order, because a leader keeps what its predecessors placed and changes (resizes) only some of it. What a
deposed leader writes late does no harm all the same: over a newer placement it is refused here (and by the bucket's
revision); as a new replica, whose id nobody else can have given as it contains the epoch, it gets what the device has
left and nothing that is promised to others, and the leader, who sees in the bucket that it is of an earlier term,
removes it. Decision 11 has the reasons.

A placement that changed while its replica runs is a resize: the worker carries it out without a restart. A slice that
the device cannot give (chunks it does not have, time promised to others) is refused with the numbers: a new replica is
failed for now and tried again when another has left or holds less, one that runs keeps the slice it has until the other
one fits. The same goes for one that found no memory. A replica on loan is promised no time, so it
competes with nobody for any; everything else holds for it too.

A replica whose loading kills the worker is failed, so that it cannot take its neighbours down for ever. Those that were
loading when a worker died are suspects; the next worker loads them after the others and one at a time, and who was
loading alone when it died three times is to blame. Whoever merely stood beside it, or met a `kill -9`, comes back.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec.structs import replace

from fastgshare.node_manager.core.slices import share_of
from fastgshare.node_manager.core.timetable import overfull_chunks
from fastgshare.shared.ids import HostId, ReplicaId
from fastgshare.shared.messages import Placement, ReplicaState, ReplicaStatus, Signature, Slice
from fastgshare.shared.units import PER_MILLE

MAX_DEATHS_WHILE_LOADING = 3


@dataclass(frozen=True, slots=True)
class LoadReplica:
    """Command to the worker."""

    placement: Placement


@dataclass(frozen=True, slots=True)
class ResizeReplica:
    """Command to the worker: this replica holds another slice from now on."""

    placement: Placement


@dataclass(frozen=True, slots=True)
class DrainReplica:
    """Command to the worker: finish what waits, then let go of everything."""

    replica: ReplicaId


@dataclass(frozen=True, slots=True)
class PublishStatus:
    """Command to the manager: this is the replica's state now."""

    status: ReplicaStatus


@dataclass(frozen=True, slots=True)
class ForgetStatus:
    """Command to the manager: the replica is gone from this node."""

    replica: ReplicaId


@dataclass(frozen=True, slots=True)
class RefusePlacement:
    """Command to the manager: say that this placement was not accepted."""

    placement: Placement
    reason: str


Command = LoadReplica | ResizeReplica | DrainReplica | PublishStatus | ForgetStatus | RefusePlacement


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """What the worker says of a replica."""

    replica: ReplicaId
    state: ReplicaState
    reason: str = ""
    signature: Signature | None = None
    max_batch: int = 1
    memory_mib: float = 0.0
    load_ms: float = 0.0
    weights_mib: float = 0.0
    weights_reused: bool = False
    placement: Placement | None = None
    transient: bool = False


@dataclass(slots=True)
class DeviceCore:
    """One device's replicas, desired and actual. What the device is, its first worker tells: until then 0 chunks."""

    host: HostId
    device_kind: str = ""
    chunks: int = 0
    incarnation: str = ""
    worker_ready: bool = False
    stopping: bool = False
    desired: dict[ReplicaId, Placement] = field(default_factory=dict)
    refused: dict[ReplicaId, Placement] = field(default_factory=dict)
    actual: dict[ReplicaId, ReplicaStatus] = field(default_factory=dict)
    loading: set[ReplicaId] = field(default_factory=set)
    suspects: dict[ReplicaId, int] = field(default_factory=dict)
    turned_away: dict[ReplicaId, bool] = field(default_factory=dict)

    def placed(self, placement: Placement, now_us: int) -> list[Command]:
        """A placement for this device was written or changed."""
        standing = self.refused.get(placement.replica) or self.desired.get(placement.replica)
        if standing is not None and placement.epoch < standing.epoch:
            reason = f"its epoch {placement.epoch} is older than {standing.epoch}, of which it stands here already"
            return [RefusePlacement(placement, reason)]
        refusal = self._refusal(placement, self.desired.values()) if self.chunks else ""
        status = self.actual.get(placement.replica)
        if refusal and status is not None and status.state is not ReplicaState.FAILED:
            return self._refuse_resize(placement, refusal, status)
        before = self.desired.get(placement.replica)
        self.desired[placement.replica] = placement
        self.refused.pop(placement.replica, None)
        if refusal:
            return self._refuse(placement, refusal, now_us)
        if status is None:
            return self._load(placement, now_us)
        return self._resize(before, placement) + self._resize_refused() + self._try_again(now_us)

    def unplaced(self, replica: ReplicaId) -> list[Command]:
        """A placement was removed."""
        self.desired.pop(replica, None)
        self.refused.pop(replica, None)
        self.suspects.pop(replica, None)
        self.turned_away.pop(replica, None)
        status = self.actual.get(replica)
        if status is None:
            return []
        if status.state is ReplicaState.FAILED or not self.worker_ready:
            del self.actual[replica]
            return [ForgetStatus(replica), *self._resize_refused()]
        return [DrainReplica(replica), *self._resize_refused()]

    def worker_started(self, incarnation: str, kind: str, chunks: int, now_us: int) -> list[Command]:
        """A worker process is ready for commands: give it every replica that has not failed, suspects last."""
        self.incarnation = incarnation
        self.device_kind, self.chunks = kind, chunks
        self.worker_ready = True
        commands: list[Command] = []
        accepted: list[Placement] = []
        for placement in self.desired.values():
            if not self._is_alive(placement):
                continue
            if refusal := self._refusal(placement, accepted):
                commands += self._refuse(placement, refusal, now_us)
                continue
            accepted.append(placement)
            commands += self._load(placement, now_us)
        return commands + self._try_again(now_us) + self._next_suspect()

    def worker_died(self, reason: str, now_us: int) -> list[Command]:
        """The worker process ended by itself: nothing of what it held remains."""
        self.worker_ready = False
        self._blame(self.loading & self.desired.keys())
        self.loading.clear()
        commands: list[Command] = []
        for replica, status in list(self.actual.items()):
            if replica not in self.desired:
                del self.actual[replica]
                commands.append(ForgetStatus(replica))
            elif status.state is not ReplicaState.FAILED:
                commands.append(self._after_death(status, reason, now_us))
        return commands

    def reported(self, report: ReplicaReport, now_us: int) -> list[Command]:
        """The worker told of a change in a replica."""
        status = self.actual.get(report.replica)
        if status is None:
            return []
        if report.state is not ReplicaState.LOADING:
            self.loading.discard(report.replica)
            self.suspects.pop(report.replica, None)
        held = report.placement or self.desired.get(report.replica)
        changed = replace(
            status,
            chunks=held.chunks if held is not None else status.chunks,
            slice=held.function.slice if held is not None else status.slice,
            loan=held.loan if held is not None else status.loan,
            note=status.note if held is None or report.replica in self.refused else self._note(held),
            weights_mib=report.weights_mib or status.weights_mib,
            weights_reused=report.weights_reused if report.state is ReplicaState.READY else status.weights_reused,
            state=report.state,
            transient=report.transient,
            reason=report.reason,
            signature=report.signature or status.signature,
            max_batch=report.max_batch,
            memory_mib=report.memory_mib or status.memory_mib,
            load_ms=report.load_ms or status.load_ms,
            since_us=now_us,
        )
        self.actual[report.replica] = changed
        if report.transient and report.replica in self.desired:
            self.turned_away[report.replica] = True
        resized = self._resize_refused() if report.state is ReplicaState.FAILED else []
        return [PublishStatus(changed), *resized, *self._next_suspect()]

    def drained(self, replica: ReplicaId, now_us: int) -> list[Command]:
        """The worker let go of a replica; one that is wanted again by now is loaded anew."""
        self.actual.pop(replica, None)
        self.loading.discard(replica)
        placement = self.desired.get(replica)
        if placement is not None and not self.stopping:
            return self._load(placement, now_us) + self._next_suspect()
        return [ForgetStatus(replica), *self._try_again(now_us), *self._next_suspect()]

    def _blame(self, loading: set[ReplicaId]) -> None:
        """The worker died while it loaded these: proof against one, suspicion against several."""
        for replica in sorted(loading):
            self.suspects[replica] = self.suspects.get(replica, 0) + (len(loading) == 1)

    def _next_suspect(self) -> list[Command]:
        """Load one suspect where nothing else is loading."""
        if not self.worker_ready or self.loading:
            return []
        for replica in self.suspects:
            if self.actual[replica].state is ReplicaState.LOADING:
                self.loading.add(replica)
                return [LoadReplica(self.desired[replica])]
        return []

    def _after_death(self, status: ReplicaStatus, reason: str, now_us: int) -> Command:
        replica = status.replica
        deaths = self.suspects.get(replica, 0)
        if deaths >= MAX_DEATHS_WHILE_LOADING:
            text = f"the device worker died {deaths} times while loading this alone: {reason}"
            changed = replace(status, state=ReplicaState.FAILED, reason=text, since_us=now_us)
        else:
            changed = replace(
                status,
                state=ReplicaState.LOADING,
                reason=f"the device worker is restarting: {reason}",
                since_us=now_us,
                restarts=status.restarts + 1,
                incarnation=f"{self.incarnation}-dead",
            )
        self.actual[replica] = changed
        return PublishStatus(changed)

    def _load(self, placement: Placement, now_us: int) -> list[Command]:
        status = self._status(placement, ReplicaState.LOADING, now_us)
        self.actual[placement.replica] = status
        if not self.worker_ready or placement.replica in self.suspects:
            return [PublishStatus(status)]
        self.loading.add(placement.replica)
        return [PublishStatus(status), LoadReplica(placement)]

    def _resize(self, before: Placement | None, placement: Placement) -> list[Command]:
        """What runs takes on another slice; what has failed or is loading anew gets it with the next load."""
        if before is None or not self.worker_ready:
            return []
        if _held(before) == _held(placement):
            return []
        if self.actual[placement.replica].state in (ReplicaState.LOADING, ReplicaState.READY):
            return [ResizeReplica(placement)]
        return []

    def _resize_refused(self) -> list[Command]:
        """Somebody holds less: slices that were refused and fit now are taken on after all."""
        commands: list[Command] = []
        for replica, placement in list(self.refused.items()):
            if not self._refusal(placement, self.desired.values()):
                del self.refused[replica]
                before = self.desired.get(replica)
                self.desired[replica] = placement
                commands += self._resize(before, placement)
        return commands

    def _try_again(self, now_us: int) -> list[Command]:
        """Somebody left or holds less: who was turned away for want of room is loaded after all, if there is some."""
        commands: list[Command] = []
        for replica in [] if self.stopping else list(self.turned_away):
            placement = self.desired[replica]
            if not self._refusal(placement, self.desired.values()):
                del self.turned_away[replica]
                commands += self._load(placement, now_us)
        return commands

    def _refusal(self, placement: Placement, among: Iterable[Placement]) -> str:
        """Why the device cannot give this slice beside the others; empty if it can."""
        if not placement.chunks or max(placement.chunks) >= self.chunks or min(placement.chunks) < 0:
            return f"it is placed on chunks {list(placement.chunks)} of a device with {self.chunks}"
        if placement.loan:
            return ""
        own = share_of(placement)
        others = [share_of(other) for other in among if self._competes(other, placement)]
        for chunk, permille in overfull_chunks([*others, own], self.chunks).items():
            if own.mask >> chunk & 1:
                promised = (permille - own.request_permille) / PER_MILLE
                asked = own.request_permille / PER_MILLE
                return f"{promised:g} of the time of chunk {chunk} is promised to others, quota_request is {asked:g}"
        return ""

    def _competes(self, other: Placement, placement: Placement) -> bool:
        """Other generations of a function do not: they leave as it becomes ready, and the scheduler counts so too.

        Nor do loans, which are promised nothing.
        """
        if other.replica == placement.replica or other.loan or _is_predecessor(other, placement):
            return False
        return self._is_alive(other)

    def _is_alive(self, placement: Placement) -> bool:
        status = self.actual.get(placement.replica)
        return status is None or status.state is not ReplicaState.FAILED

    def _refuse(self, placement: Placement, reason: str, now_us: int) -> list[Command]:
        """For now: the room may be another's that is about to leave, and the scheduler may know of a better place."""
        failed = replace(self._status(placement, ReplicaState.FAILED, now_us, reason), transient=True)
        self.actual[placement.replica] = failed
        self.turned_away[placement.replica] = True
        return [RefusePlacement(placement, reason), PublishStatus(failed)]

    def _refuse_resize(self, placement: Placement, reason: str, status: ReplicaStatus) -> list[Command]:
        self.refused[placement.replica] = placement
        told = replace(status, note=f"it keeps its slice: {reason}")
        self.actual[placement.replica] = told
        return [RefusePlacement(placement, reason), PublishStatus(told)]

    def _note(self, placement: Placement) -> str:
        """What people should know about a slice that is not what they wrote."""
        percent, held = placement.function.slice.sm_partition, len(placement.chunks)
        exact = percent * self.chunks / 100
        if not exact < held < exact + 1:
            return ""
        return f"sm_partition {percent} is {exact:.2g} of {self.chunks} chunks, rounded up to {held}"

    def _status(self, placement: Placement, state: ReplicaState, now_us: int, reason: str = "") -> ReplicaStatus:
        known = self.actual.get(placement.replica)
        function = placement.function
        return ReplicaStatus(
            replica=placement.replica,
            function=function.name,
            generation=function.generation,
            node=placement.node,
            device=placement.device,
            host=self.host,
            incarnation=self.incarnation,
            state=state,
            device_kind=self.device_kind,
            model_digest=function.model.digest,
            chunks=placement.chunks,
            slice=function.slice,
            note=self._note(placement),
            reason=reason,
            max_batch=function.max_batch,
            epoch=placement.epoch,
            since_us=now_us,
            restarts=known.restarts if known is not None else 0,
            loan=placement.loan,
        )


def _held(placement: Placement) -> tuple[tuple[int, ...], Slice, str]:
    return placement.chunks, placement.function.slice, placement.loan


def _is_predecessor(other: Placement, placement: Placement) -> bool:
    same_function = other.function.name == placement.function.name
    return same_function and other.function.generation != placement.function.generation
