"""One device of the fleet in virtual time: the node manager's own cores, and replicas whose batches take their time.

`DeviceCore` decides what is loaded, `TokenBook` who runs, `MemoryLedger` what fits. What is mirrored here in few lines
is what threads and processes do around them: loading that takes a while, tokens handed on, notices sent in batches
(`worker/runner.py`, `worker/serving.py`, `worker/answers.py`). Times and limits are the worker's defaults.
"""

from collections.abc import Callable, Iterable, Sequence

from fastgshare.node_manager.core.memory import MemoryLedger, Refusal
from fastgshare.node_manager.core.reconcile import (
    Command,
    DeviceCore,
    DrainReplica,
    ForgetStatus,
    LoadReplica,
    PublishStatus,
    ReplicaReport,
    ResizeReplica,
)
from fastgshare.node_manager.core.tokens import TokenBook
from fastgshare.shared.ids import DeviceId, Digest, HostId, ReplicaId
from fastgshare.shared.messages import INFER_VERSION, Completion, DoneNotice, Placement, ReplicaStatus
from fastgshare.simulator.core.replica import Replica
from fastgshare.simulator.core.run import DevicePlan
from fastgshare.simulator.core.scene import Scene

NOTICE_BATCH = 32

Tell = Callable[[DeviceId, ReplicaId, ReplicaStatus | None], None]
Notify = Callable[[tuple[int, DoneNotice]], None]


class Device:
    """`board` has the replicas that anybody can send to, of all devices; `notify` carries notices to gateways."""

    def __init__(
        self, plan: DevicePlan, scene: Scene, board: dict[ReplicaId, Replica], tell: Tell, notify: Notify
    ) -> None:
        self.plan = plan
        self.scene = scene
        self.agenda = scene.agenda
        self.usage = scene.fleet.books[plan.device]
        self.board = board
        self.core = DeviceCore(host=HostId(plan.node))
        self.book = TokenBook(plan.chunks, scene.run.window_us)
        self.memory = MemoryLedger(plan.memory_mib)
        self.replicas: dict[ReplicaId, Replica] = {}
        self.waiting = 0
        self.busy_chunks = 0
        self.running_since_us = 0
        self._tell = tell
        self._notify = notify
        self._lives = 0
        self._wake_us: int | None = None
        self._weights_at_us: dict[Digest, int] = {}
        self._done: dict[tuple[int, ReplicaId], list[Completion]] = {}

    # Its worker

    def start(self, incarnation: str) -> None:
        """Its worker is up."""
        self._lives += 1
        incarnation = f"{incarnation}.{self._lives}"
        self.carry_out(self.core.worker_started(incarnation, self.plan.kind, self.plan.chunks, self._now_us))

    def die(self, reason: str) -> None:
        """Its worker is gone, and with it everything that it held; its manager tells."""
        self._lose()
        self.carry_out(self.core.worker_died(reason, self._now_us))

    def vanish(self) -> None:
        """Its node is gone: nobody tells anything, and what comes back knows nothing."""
        self._lose()
        self.core = DeviceCore(host=HostId(self.plan.node))

    def _lose(self) -> None:
        for replica in self.replicas.values():
            replica.gone()
            self.board.pop(replica.id, None)
            self.scene.fleet.let_go(self.plan.device, replica.id, self._now_us)
        self.replicas.clear()
        if self.busy_chunks:
            self.note_idle()
        self.waiting = self.busy_chunks = 0
        self.book = TokenBook(self.plan.chunks, self.scene.run.window_us)
        self.memory = MemoryLedger(self.plan.memory_mib)
        self._wake_us = None
        self._weights_at_us.clear()
        self._done.clear()

    # What is placed here

    def placed(self, placement: Placement) -> None:
        """A placement was written."""
        self.carry_out(self.core.placed(placement, self._now_us))

    def unplaced(self, replica: ReplicaId) -> None:
        """A placement was removed."""
        self.carry_out(self.core.unplaced(replica))

    def carry_out(self, commands: Iterable[Command]) -> None:
        """What the core decided."""
        for command in commands:
            match command:
                case LoadReplica(placement):
                    self._load(placement)
                case ResizeReplica(placement):
                    if placement.replica in self.replicas:
                        self.replicas[placement.replica].resize(placement)
                case DrainReplica(replica):
                    if replica in self.replicas:
                        self.replicas[replica].drain()
                    else:
                        self.carry_out(self.core.drained(replica, self._now_us))
                case PublishStatus(status):
                    self._tell(self.plan.device, status.replica, status)
                case ForgetStatus(replica):
                    self._tell(self.plan.device, replica, None)
                case _:
                    pass  # a refusal is in the status too

    def report(self, report: ReplicaReport) -> None:
        """A replica changed."""
        self.carry_out(self.core.reported(report, self._now_us))

    def _load(self, placement: Placement) -> None:
        replica = Replica(placement, self)
        self.replicas[placement.replica] = replica
        self.scene.fleet.hold(placement, self._now_us)
        replica.join()
        refusal = self._reserve(placement)
        if refusal is not None:
            replica.fail(refusal)
            return
        self.scene.agenda.at(self._loaded_us(placement), replica.loaded, None)

    def _reserve(self, placement: Placement) -> Refusal | None:
        """Why its memory does not fit, if it does not."""
        plan = self.scene.functions[placement.function.name]
        allowed_mib = placement.function.slice.gpu_mem_mib
        needed_mib = plan.weights_mib + plan.own_mib
        if needed_mib > allowed_mib:
            parts = f"{plan.weights_mib:.0f} of weights and {plan.own_mib:.0f} of its own"
            reason = f"it needs {needed_mib:.0f} MiB ({parts}), its slice's gpu_mem_mib is {allowed_mib}"
            return Refusal(reason, passes=False)
        digest = placement.function.model.digest
        return self.memory.reserve(placement.replica, digest, plan.weights_mib, allowed_mib)

    def _loaded_us(self, placement: Placement) -> int:
        plan, digest = self.scene.functions[placement.function.name], placement.function.model.digest
        there_us = self._weights_at_us.get(digest)
        if there_us is not None:
            return max(there_us, self._now_us) + plan.reload_us
        self._weights_at_us[digest] = self._now_us + plan.load_us
        return self._now_us + plan.load_us

    def let_go(self, replica: Replica) -> None:
        """A replica has ended: its chunks, memory and place are free."""
        replica.gone()
        if self.replicas.get(replica.id) is replica:
            del self.replicas[replica.id]
        self.board.pop(replica.id, None)
        self.memory.release(replica.id)
        digest = replica.placement.function.model.digest
        if digest not in self.memory.weights_mib:
            self._weights_at_us.pop(digest, None)
        self.scene.fleet.let_go(self.plan.device, replica.id, self._now_us)
        granted = self.book.remove(replica.id, self._now_us)
        self.note_sharing()
        self.grant(granted)

    def note_sharing(self) -> None:
        """Somebody came, went or holds something else: tell replicas whether others hold some of their chunks."""
        masks = [(replica, replica.mask) for replica in self.replicas.values()]
        for replica, mask in masks:
            is_shared = any(mask & other_mask for other, other_mask in masks if other is not replica)
            replica.queue.note_sharing(is_shared)

    def note_idle(self) -> None:
        """Nothing runs any more; what ran after the end counts for nothing."""
        self.usage.running_us += max(min(self._now_us, self.scene.end_us) - self.running_since_us, 0)

    # Tokens

    def grant(self, granted: Sequence[ReplicaId]) -> None:
        """Let these start, then see when time alone brings a token to whoever waits."""
        replicas = self.replicas
        while granted:
            more: list[ReplicaId] = []
            for replica in granted:
                more += replicas[replica].begin()
            granted = more
        if self.waiting:
            self._watch()

    def _watch(self) -> None:
        wake_us = self.book.wake_at_us(self.agenda.now_us)
        if wake_us is not None and (self._wake_us is None or wake_us < self._wake_us):
            self._wake_us = wake_us
            self.agenda.at(wake_us, self._wake, wake_us)

    def _wake(self, wake_us: int) -> None:
        if self._wake_us == wake_us:
            self._wake_us = None
            self.grant(self.book.poll(wake_us))

    # Notices

    def done(self, door: int, replica: Replica, completion: Completion) -> None:
        """An attempt ended; its gateway hears of it in the next notice."""
        done = self._done
        if not done:
            self.agenda.later(self._flush, self._lives)
        key = (door, replica.id)
        held = done.get(key)
        if held is None:
            done[key] = [completion]
            return
        held.append(completion)
        if len(held) >= NOTICE_BATCH:
            self._push(key)

    def _flush(self, life: int) -> None:
        if life == self._lives:
            for key in list(self._done):
                self._push(key)

    def _push(self, key: tuple[int, ReplicaId]) -> None:
        door, replica = key
        known = self.replicas.get(replica)
        depth = known.depth if known is not None else 0
        notice = DoneNotice(INFER_VERSION, replica, self.core.incarnation, depth, tuple(self._done.pop(key)))
        self.agenda.post(self._notify, (door, notice))

    @property
    def _now_us(self) -> int:
        return self.scene.agenda.now_us
