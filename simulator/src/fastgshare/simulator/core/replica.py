"""One replica in virtual time: the node manager's queue, and the turns that its thread takes (`worker/runner.py`).

The batch is chosen when the token is granted, and the next one is asked for as the token goes back. A resize of quotas
is taken on at once, one of chunks between two batches. Whoever drains answers what comes until it has been quiet.
"""

import math
from typing import TYPE_CHECKING

from fastgshare.gateway.core.tickets import Dispatch
from fastgshare.node_manager.core.batching import Job, WorkQueue
from fastgshare.node_manager.core.memory import Refusal
from fastgshare.node_manager.core.reconcile import ReplicaReport
from fastgshare.node_manager.core.slices import share_of
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.messages import Completion, Placement, ReplicaState, Timing
from fastgshare.shared.units import PER_MILLE, US_PER_MS
from fastgshare.simulator.core.chance import Pace, pace_of
from fastgshare.simulator.core.tally import Call

if TYPE_CHECKING:
    from fastgshare.simulator.core.device import Device

BACKLOG = 4096
DRAIN_QUIET_US = 300 * US_PER_MS
DRAIN_POLL_US = 20 * US_PER_MS
SAME = frozenset[str]()
"""Requests of a function may all share a batch."""
NO_TIMES = Timing()
NOBODY: list[ReplicaId] = []


class Replica:
    """From the moment it is loaded until its device lets go of it."""

    def __init__(self, placement: Placement, device: "Device") -> None:
        scene = device.scene
        self.id: ReplicaId = placement.replica
        self.placement = placement
        self.depth = 0
        self.is_gone = False
        self.queue = WorkQueue(placement.function.max_batch, scene.run.window_us)
        self._device = device
        self._agenda = scene.agenda
        self._hop_us = scene.run.hops.client_us
        self._tail_us = scene.run.hops.tail_us
        self._around_us = scene.run.hops.batch_us
        self._plan = scene.functions[placement.function.name]
        self.mask = 0
        self._table = scene.table(placement.function.model.digest, device.plan.kind)
        self.queue.timetable.learn_table(self._table)
        self._paces: dict[int, Pace] = {}
        self._chance = scene.chance
        self._stretch = scene.run.stretch_permille / (device.plan.chunks * PER_MILLE)
        self._tally = scene.tallies[placement.function.name]
        self._end_us = scene.end_us
        self._is_open = False
        self._is_ready = False
        self._is_ending = False
        self._is_asking = False
        self._asked_us = 0
        self._last_us = 0
        self._last_arrival_us = 0
        self._began_us = 0
        self._token_us = 0
        self._used_us = 0
        self._chunks = len(placement.chunks)
        self._batch: list[Job] = []
        self._moves: list[Placement] = []

    # Its life

    def join(self) -> None:
        """Take its place among the others, as it does when it begins to load."""
        self._hold(self.placement)

    def loaded(self, _about: None) -> None:
        """It is up; if it is to end by now, it drains."""
        if self.is_gone:
            return
        self._is_open = True
        self._device.board[self.id] = self
        self._count_ready(+1)
        self._report(ReplicaState.READY)
        if self._is_ending:
            self._begin_draining()

    def fail(self, refusal: Refusal) -> None:
        """It cannot be loaded, for now or for good."""
        self._device.let_go(self)
        self._report(ReplicaState.FAILED, refusal.reason, refusal.passes)

    def drain(self) -> None:
        """Finish what waits, then end."""
        if self._is_ending:
            return
        self._is_ending = True
        if self._is_open:
            self._begin_draining()

    def gone(self) -> None:
        """It went with its device, or its device let go of it."""
        self.is_gone = True
        if self._is_ready:
            self._count_ready(-1)

    def _count_ready(self, change: int) -> None:
        self._is_ready = change > 0
        self._device.scene.count_ready(self.placement.function.name, change)

    def _begin_draining(self) -> None:
        self._count_ready(-1)
        self._report(ReplicaState.DRAINING)
        self._last_arrival_us = max(self._last_arrival_us, self._agenda.now_us)
        self._agenda.at(self._agenda.now_us + DRAIN_QUIET_US, self._end_if_quiet, None)

    def _end_if_quiet(self, _about: None) -> None:
        if self.is_gone:
            return
        now_us = self._agenda.now_us
        quiet_at_us = self._last_arrival_us + DRAIN_QUIET_US
        if self.depth or now_us < quiet_at_us:
            self._agenda.at(max(now_us + DRAIN_POLL_US, quiet_at_us), self._end_if_quiet, None)
            return
        self._device.let_go(self)
        self._device.carry_out(self._device.core.drained(self.id, now_us))

    def resize(self, placement: Placement) -> None:
        """Hold another slice: quotas at once, chunks between two batches."""
        is_moving = bool(self._moves)
        if placement.chunks == self.placement.chunks and not is_moving:
            self._resized(placement)
        elif self._batch:
            self._moves.append(placement)
        else:
            self._withdraw()
            self._resized(placement)
            self._ask_again()

    def _resized(self, placement: Placement) -> None:
        self.placement = placement
        self._device.scene.fleet.hold(placement, self._agenda.now_us)
        self._hold(placement)
        if self._is_open and not self._is_ending:
            self._report(ReplicaState.READY)

    def _hold(self, placement: Placement) -> None:
        share = share_of(placement)
        device = self._device
        self.mask = share.mask
        self.queue.timetable.hold(100 * len(placement.chunks) / device.plan.chunks)
        self._paces.clear()
        granted = device.book.set_share(self.id, share, self._agenda.now_us)
        device.note_sharing()
        device.grant(granted)

    def _report(self, state: ReplicaState, reason: str = "", passes: bool = False) -> None:
        self._device.report(
            ReplicaReport(
                self.id,
                state,
                reason,
                max_batch=self.placement.function.max_batch,
                memory_mib=self._plan.own_mib,
                weights_mib=self._plan.weights_mib,
                placement=self.placement,
                transient=passes,
            )
        )

    # Serving

    def take(self, dispatch: Dispatch) -> None:
        """A request arrives."""
        now_us = self._agenda.now_us
        self._last_arrival_us = now_us
        call = dispatch.ticket
        if self.depth >= BACKLOG or call.deadline_us <= now_us:
            code = ErrorCode.OVERLOADED if self.depth >= BACKLOG else ErrorCode.DEADLINE_EXCEEDED
            self._answer_error(dispatch, code)
            return
        self.depth += 1
        self.queue.push(Job(call.deadline_us, call.rows, SAME, now_us, dispatch))
        if not self._batch and not self._is_asking:
            self._ask_again()

    def begin(self) -> list[ReplicaId]:
        """It has a token: choose a batch and run it; who may start too where there is none to run."""
        device, now_us = self._device, self._agenda.now_us
        self._is_asking = False
        device.waiting -= 1
        for job in self.queue.hopeless(now_us):
            self._fail_job(job, ErrorCode.DEADLINE_EXCEEDED)
        batch = self.queue.take(now_us)
        if not batch:
            return device.book.end(self.id, 0, now_us)
        rows = len(batch)  # a request is one input
        self._batch = batch
        self._began_us = now_us
        self._token_us = now_us - self._asked_us
        self._chunks = self.mask.bit_count()  # those of its token, whatever it holds by the end
        self._used_us = used_us = self._batch_us(rows)
        if not device.busy_chunks:
            device.running_since_us = now_us
        device.busy_chunks += self._chunks
        self._agenda.at(now_us + used_us + self._around_us, self._end_batch, batch)
        return NOBODY

    def _batch_us(self, rows: int) -> int:
        """By its table and chance, and stretched by what runs beside it as it begins."""
        pace = self._paces.get(rows)
        if pace is None:
            answer = self._table.at(100 * self._chunks / self._device.plan.chunks, 1.0, rows)
            pace = self._paces[rows] = pace_of(answer.device_us, answer.device_p95_us)
        took_us, sigma = pace
        if sigma:
            took_us *= math.exp(sigma * self._chance.normal())
        if self._stretch:
            took_us *= 1 + self._stretch * self._device.busy_chunks
        return int(took_us + 0.5) or 1

    def _end_batch(self, batch: list[Job]) -> None:
        if self._batch is not batch or self.is_gone:
            return  # it went down with its device
        device, now_us, used_us = self._device, self._agenda.now_us, self._used_us
        device.busy_chunks -= self._chunks
        if not device.busy_chunks:
            device.note_idle()
        self._batch = []
        self._last_us = used_us
        again_us = None
        if self.queue and not self._moves:
            self._asked_us = now_us
            self._is_asking = True
            device.waiting += 1
            again_us = self.queue.expected_us() or used_us
        granted = device.book.end(self.id, used_us, now_us, again_us)
        token_us, began_us = self._token_us, self._began_us
        self._count_use(used_us if now_us <= self._end_us else self._end_us - began_us)
        if granted or device.waiting:
            device.grant(granted)
        self._answer(batch, token_us, began_us, used_us)
        if self._moves:
            self._move()

    def _count_use(self, used_us: int) -> None:
        """So much of the run went into a batch."""
        tally, device = self._tally, self._device
        tally.batches += 1
        if used_us > 0:
            share_us = used_us * self._chunks / device.plan.chunks
            tally.busy_us += share_us
            device.usage.busy_us += share_us

    def _move(self) -> None:
        moves, self._moves = self._moves, []
        for placement in moves:
            self._resized(placement)
        self._ask_again()

    def _ask_again(self) -> None:
        if self.queue and not self._batch and not self._is_asking:
            device, now_us = self._device, self._agenda.now_us
            self._is_asking = True
            self._asked_us = now_us
            device.waiting += 1
            device.grant(device.book.ask(self.id, self.queue.expected_us() or self._last_us, now_us))

    def _withdraw(self) -> None:
        if self._is_asking:
            self._is_asking = False
            self._device.waiting -= 1
            self._device.grant(self._device.book.give_up(self.id, self._agenda.now_us))

    def _answer(self, batch: list[Job], token_us: int, began_us: int, used_us: int) -> None:
        now_us, rows = self._agenda.now_us, len(batch)
        received_us = now_us + self._hop_us
        answer, done = self._tally.answer, self._device.done
        self.depth -= rows
        for job in batch:
            dispatch: Dispatch = job.content  # type: ignore[assignment]  # all jobs here are made by `take`
            call: Call = dispatch.ticket  # type: ignore[assignment]
            waited_us = began_us - job.arrived_us
            own_us = token_us if token_us < waited_us else waited_us
            answer(call, received_us + self._chance.delay_us(self._tail_us) if self._tail_us else received_us)
            timing = Timing(waited_us - own_us, own_us, used_us, rows)
            done(call.door, self, Completion(dispatch.attempt, True, timing, now_us))

    def _fail_job(self, job: Job, code: ErrorCode) -> None:
        self.depth -= 1
        assert isinstance(job.content, Dispatch)
        self._answer_error(job.content, code)

    def _answer_error(self, dispatch: Dispatch, code: ErrorCode) -> None:
        """Its caller gets an error: the call counts as failed, as all that are neither answered nor refused."""
        call = dispatch.ticket
        assert isinstance(call, Call)
        call.is_over = True
        completion = Completion(dispatch.attempt, False, NO_TIMES, self._agenda.now_us, code.value)
        self._device.done(call.door, self, completion)
