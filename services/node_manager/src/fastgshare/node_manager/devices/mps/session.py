"""A replica's model in a process of its own.

A process that dies in a run costs that run, and one that dies between two costs none; the next run starts another,
until `MAX_DEATHS` have died without a finished run between them: then the session stays failed. The share of threads is
fixed when a process makes its context, so to move is to start another process: first the new one, then the switch, then
the old one finishes and ends. Where memory has no room for two, the old one ends first, and the replica is away for as
long as a load takes.

A session is bound to its replica's thread (not `is_portable`): a run waits for another process, and an event loop must
not.
"""

import logging
import threading
from collections.abc import Callable

from fastgshare.node_manager.devices.faults import MemoryRefused, ModelFault
from fastgshare.node_manager.devices.mps.memory import Claim
from fastgshare.node_manager.devices.mps.process import ContextLost, ProcessLost, ReplicaProcess
from fastgshare.node_manager.devices.mps.starting import Starter
from fastgshare.node_manager.devices.ports import Footprint, ModelInfo, Ran, StoredModel
from fastgshare.shared.arrays import Array
from fastgshare.shared.ids import ReplicaId

MAX_DEATHS = 3

logger = logging.getLogger(__name__)


class MpsSession:
    """Made by `MpsDevice.open_session`."""

    is_portable = False
    is_on_cores = False

    def __init__(
        self,
        starter: Starter,
        chunks: tuple[int, ...],
        on_closed: Callable[["MpsSession"], None],
        on_context_lost: Callable[[], None],
    ) -> None:
        self._starter = starter
        self._on_closed = on_closed
        self._on_context_lost = on_context_lost
        self._chunks = chunks
        self._moving = threading.Lock()  # who starts and ends processes: always taken first
        self._running = threading.Lock()  # who uses the present one
        self._claim: Claim | None = None
        self._process: ReplicaProcess | None = None
        self._is_closed = False
        self.deaths = 0
        self._deaths_in_a_row = 0
        claim = starter.claim()
        try:
            started = starter.start(claim, chunks)
        except BaseException:
            starter.release(claim)
            raise
        self._claim, self._process = claim, started.process
        self.info: ModelInfo = started.info
        self.footprint: Footprint = started.footprint

    @property
    def model(self) -> StoredModel:
        """What it runs."""
        return self._starter.model

    @property
    def replica(self) -> ReplicaId:
        """Whose it is."""
        return self._starter.lane.replica

    @property
    def pid(self) -> int | None:
        """Its process, while there is one."""
        process = self._process
        return process.pid if process is not None else None

    def run(self, feed: dict[str, Array]) -> Ran:
        """One batch, in another process if the last one died. Raises ModelFault, DeviceLost."""
        self._bury()
        if self._process is None:
            self._revive()
        try:
            return self._run(feed)
        except ProcessLost as lost:
            if isinstance(lost, ContextLost):
                self._on_context_lost()
            reason = f"its process was lost in a run: {lost.fields['reason']}"
            logger.warning("replica %s: %s", self.replica, reason)
            raise ModelFault(reason=reason) from lost

    def move(self, chunks: tuple[int, ...]) -> None:
        """Compute on the share of these chunks from the next run on; nothing changes where that fails.

        Raises ModelFault, DeviceLost.
        """
        with self._moving:
            self._check_open()
            if self._starter.is_same(self._chunks, chunks):
                self._chunks = chunks
                return
            try:
                claim = self._starter.claim()
            except MemoryRefused as refused:
                logger.info("replica %s ends its process before the next one: %s", self.replica, refused.reason)
                self._break_and_make(chunks)
                return
            self._make_and_break(claim, chunks)

    def close(self) -> None:
        """Let a run that is under way finish, then end the process. Idempotent."""
        with self._moving:
            self._is_closed = True
            self._end_process()
            if self._claim is not None:
                self._starter.release(self._claim)
                self._claim = None
                self._on_closed(self)

    def step_aside(self) -> None:
        """End the process between two runs, without blame; the next run has another."""
        self._end_process()

    def _run(self, feed: dict[str, Array]) -> Ran:
        with self._running:
            process = self._process
            if process is None:
                raise ModelFault(reason="its session was closed" if self._is_closed else "its process had to go")
            try:
                ran = process.run(feed)
            except ProcessLost:
                process.end()
                self._process = None
                self._count_death()
                raise
            self._deaths_in_a_row = 0
            return ran

    def _bury(self) -> None:
        """Let go of a process that died since the last run."""
        with self._running:
            process = self._process
            if process is None or process.is_running:
                return
            process.end()
            self._process = None
            self._count_death()
        logger.warning("replica %s: its process died between two runs", self.replica)

    def _make_and_break(self, claim: Claim, chunks: tuple[int, ...]) -> None:
        try:
            started = self._starter.start(claim, chunks)
        except BaseException:
            self._starter.release(claim)
            raise
        with self._running:  # between two runs
            before, self._process = self._process, started.process
            claim_before, self._claim = self._claim, claim
            self._chunks = chunks
        if before is not None:
            before.end()
        if claim_before is not None:
            self._starter.release(claim_before)

    def _break_and_make(self, chunks: tuple[int, ...]) -> None:
        self._end_process()
        assert self._claim is not None
        started = self._starter.start(self._claim, chunks)  # where this fails, the next run tries the old chunks
        with self._running:
            self._process = started.process
            self._chunks = chunks

    def _revive(self) -> None:
        """A process in place of one that died."""
        with self._moving:
            self._check_open()
            if self._process is not None:
                return
            assert self._claim is not None
            if self._deaths_in_a_row >= MAX_DEATHS:
                reason = f"its process died {MAX_DEATHS} times without finishing a run: it is not started again"
                raise ModelFault(reason=reason)
            try:
                started = self._starter.start(self._claim, self._chunks)
            except ModelFault:
                self._count_death()
                raise
            with self._running:
                self._process = started.process

    def _count_death(self) -> None:
        self.deaths += 1
        self._deaths_in_a_row += 1

    def _end_process(self) -> None:
        with self._running:
            process, self._process = self._process, None
        if process is not None:
            process.end()

    def _check_open(self) -> None:
        if self._is_closed:
            raise ModelFault(reason="its session was closed")
