"""One replica's thread: it opens the model on its device and runs batches, each under a token.

The batch is chosen after the token is granted, so that it holds what waits then; the token goes back with the measured
device time, and the next one is asked for in the same breath. Everything that can be done off the event loop (reading
tensors, packing answers) is done here: after the token went back, or before, where the thread's cores are the device.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from queue import Empty, SimpleQueue

from fastgshare.node_manager.core.batching import Job, WorkQueue
from fastgshare.node_manager.core.measurement import Measured, Measurement
from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.ports import Session
from fastgshare.node_manager.worker.execution import Executed, Finished, execute, finish, late, read_feeds
from fastgshare.node_manager.worker.gate import TokenGate
from fastgshare.node_manager.worker.orders import Move, Stop, Unwanted, UseTable, promise
from fastgshare.node_manager.worker.pace import Pace
from fastgshare.node_manager.worker.probe import Probe
from fastgshare.node_manager.worker.turns import Turns
from fastgshare.node_manager.worker.watch import Watch
from fastgshare.shared.arrays import Array
from fastgshare.shared.clock import monotonic_us, unix_us
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.messages import Profile, Timing
from fastgshare.shared.units import US_PER_S, us_to_s

STOPPED = "the replica was stopped"
TINY_BATCH_US = 200
# The event loop stands still for a run there: after one this long the thread takes over until they are short again.
HERE_LIMIT_US = 5_000
TOGETHER_LIMIT = 64
# Others may wait behind a turn (on a GPU only one replica captures at a time): it is not put off for longer.
TURN_PATIENCE_US = US_PER_S


class Runner:
    """The thread and its inbox. Methods are called from the event loop; callbacks leave from the thread."""

    def __init__(
        self,
        replica: ReplicaId,
        share: Share,
        gate: TokenGate,
        queue: WorkQueue,
        deliver: Callable[[list[Finished]], None],
        on_fault: Callable[[BaseException], None],
        turn_patience_us: int = TURN_PATIENCE_US,
    ) -> None:
        self._replica = replica
        self._share = share
        self._gate = gate
        self._queue = queue
        self._deliver = deliver
        self._on_fault = on_fault
        self._turn_patience_us = turn_patience_us
        self._inbox: SimpleQueue[object] = SimpleQueue()
        self._probe: Probe | None = None
        self._moves: list[Move] = []
        self._last_move: Future[None] | None = None
        self._outgoing: list[Finished] = []
        self._session: Session | None = None
        self._is_told_to_stop = False
        self._stopping = False
        self._has_ended = False
        self._ended = promise()
        self._is_faulted = False
        self._thread: threading.Thread | None = None
        self._turns = Turns(replica, gate)
        self._pace = Pace(queue)
        self._note_chunks()

    # From the event loop

    def start(self, open_session: Callable[[], Session]) -> "Future[Session]":
        """Start the thread; the future tells what was opened, or raises ModelFault."""
        opened: Future[Session] = Future()
        self._turns.share(self._share)  # here, as `resize` does, so that neither undoes the other
        self._thread = threading.Thread(
            target=self._main, args=(open_session, opened), name=f"replica-{self._replica}", daemon=True
        )
        self._thread.start()
        return opened

    def submit(self, job: Job) -> None:
        """Queue a job; one that comes after the end is answered as unavailable."""
        self._put(job)

    def recall(self, job: Job) -> None:
        """Do not run a job that was submitted, unless it runs already; whatever comes of it may still be delivered."""
        job.wanted = False
        self._inbox.put(Unwanted())

    @property
    def is_quick(self) -> bool:
        """Whether a batch usually takes less than waking this thread for it, and may run elsewhere."""
        return self._pace.is_quick and self._session is not None and self._session.is_portable

    @property
    def drift(self) -> float:
        """How long recent batches took over what the table says; 0 where too few ran or there is no table."""
        return self._pace.drift

    def run_here(self, jobs: list[Job]) -> list[Finished] | None:
        """Run jobs on the calling thread, for quick models; None: there is no token now, submit them.

        The caller sees to it that nothing waits here that they would overtake.
        """
        session = self._session
        if session is None or self._is_told_to_stop or self._is_moving or self._probe is not None:
            return None  # the thread may be at the session, and holds no token for that
        if not self._gate.try_acquire(self._replica, self._pace.last_us):
            return None
        used_us = 0
        try:
            now_us = unix_us()
            here = self._queue.sibling()
            for job in jobs:
                here.push(job)
            finished = [late(job, now_us) for job in here.hopeless(now_us)]
            while batch := here.take(now_us):
                started_us = monotonic_us()
                ready, feeds, refused = read_feeds(batch)
                executed = execute(session, ready, feeds) if ready else []
                used_us += sum(one.used_us for one in executed)
                self._pace.learn(executed)
                finished += refused + finish(executed, 0, now_us)
                took_us = monotonic_us() - started_us
                if took_us > HERE_LIMIT_US:
                    self._pace.learn_long(took_us)
                    self._submit_all(here, now_us)
            return finished
        finally:
            self._gate.release(self._replica, used_us)

    def measure(
        self, measurement: Measurement, feed: dict[str, Array], watch: Watch | None = None
    ) -> "Future[Measured]":
        """Carry out a measurement with `feed`; raises ModelFault or MeasurementRefused through the future."""
        done: Future[Measured] = Future()
        self._put(Probe(measurement, feed, done, partial(self._gate.others_us, self._replica), watch))
        return done

    def learn_profile(self, profile: Profile | None) -> None:
        """Use this table for choosing batches."""
        self._inbox.put(UseTable(profile))

    def resize(self, share: Share, chunks: tuple[int, ...]) -> "Future[None]":
        """Hold another share: quotas at once, chunks between two batches. Raises ModelFault through the future."""
        done = promise()
        if share.mask == self._share.mask and not self._is_moving:
            self._hold(share)
            done.set_result(None)
        else:  # behind a move under way, which would undo it
            self._last_move = done
            self._put(Move(share, chunks, done))
        return done

    def stop(self) -> "Future[None]":
        """End the thread once its inbox is worked off; the future tells when its session is closed."""
        self._is_told_to_stop = True
        if self._thread is None:
            self._end()
        else:
            self._inbox.put(Stop())
            self.step_forward()
        return self._ended

    def step_forward(self) -> None:
        """It is to end: in the background its thread, which may be loading or on its way to other chunks, would wait
        for tokens for as long as others have work, and hold its memory."""
        self._turns.step_forward()

    @property
    def _is_moving(self) -> bool:
        return self._last_move is not None and not self._last_move.done()

    def _hold(self, share: Share) -> None:
        self._share = share
        if self._thread is None:
            return
        self._turns.share(share)
        if self._has_ended:  # the thread may have left the gate before this
            self._gate.remove(self._replica)

    def _put(self, item: Job | Probe | Move) -> None:
        self._inbox.put(item)
        if self._has_ended:  # the thread's last look may have come before this
            self._refuse_left()

    def _submit_all(self, waiting: WorkQueue, now_us: int) -> None:
        while batch := waiting.take(now_us):
            for job in batch:
                self.submit(job)

    def _refuse_left(self) -> None:
        """Answer what nobody will work on.

        Jobs and measurements of a faulted worker stay open: gateways send the jobs elsewhere, and a profiler that were
        told of a stopped replica would not know that its measurement takes the device down.
        """
        jobs: list[Job] = []
        while True:
            try:
                item = self._inbox.get_nowait()
            except Empty:
                break
            if isinstance(item, Job):
                jobs.append(item)
            elif isinstance(item, Probe) and not self._is_faulted and item.done.set_running_or_notify_cancel():
                item.refuse(STOPPED)
            elif isinstance(item, Move):
                item.done.set_result(None)  # it holds nothing any more, wherever that was
        if jobs and not self._is_faulted:
            error = ErrorBody(ErrorCode.UNAVAILABLE, STOPPED)
            self._deliver([Finished(job, error, Timing()) for job in jobs])

    # The thread

    def _main(self, open_session: Callable[[], Session], opened: "Future[Session]") -> None:
        opened.set_running_or_notify_cancel()  # from here on whoever waits for it cannot cancel it any more
        try:
            self._open_and_serve(open_session, opened)
        except BaseException as error:
            self._is_faulted = True
            self._on_fault(error)
        finally:
            self._end()

    def _end(self) -> None:
        """Whoever comes from here on is refused by who sent it, or here."""
        self._has_ended = True
        self._gate.remove(self._replica)
        if self._probe is not None and not self._is_faulted:
            self._probe.refuse(STOPPED)
        for move in self._moves:
            move.done.set_result(None)
        self._refuse_left()
        self._ended.set_result(None)

    def _open_and_serve(self, open_session: Callable[[], Session], opened: "Future[Session]") -> None:
        try:
            session = open_session()
        except ModelFault as fault:
            opened.set_exception(fault)
            return
        try:
            self._serve(session, opened)
        finally:
            self._session = None
            session.close()

    def _serve(self, session: Session, opened: "Future[Session]") -> None:
        self._session = session
        self._turns.begin()
        opened.set_result(session)
        while not self._stopping or self._queue:  # whoever waits gets an answer first
            self._turn(session)
        self._deliver_outgoing()

    def _turn(self, session: Session) -> None:
        """Take what arrived, then run one batch, or one measured run when nothing waits."""
        self._take_in(self._idle_s())
        while self._moves:
            self._move(session, self._moves.pop(0))
        if not self._has_work():
            self._turns.withdraw()
            self._deliver_outgoing()  # what came in was no work for the answers to wait for
            return
        token_us = self._turns.wait(self._expected_us)
        now_us = unix_us()
        self._queue.note_sharing(self._gate.is_shared(self._replica))
        refused: list[Finished] = []
        executed: list[Executed] = []
        used_us = 0
        try:
            self._take_in()
            refused = [late(job, now_us) for job in self._queue.hopeless(now_us)]
            if batch := self._queue.take(now_us):
                jobs, feeds, unusable = read_feeds(batch)
                refused += unusable
                executed = execute(session, jobs, feeds) if jobs else []
                used_us = sum(one.used_us for one in executed)
                self._note_work(used_us)
            elif self._probe is not None and not self._stopping:
                used_us = self._probe.run(session)
                self._probe = None if self._probe.is_over else self._probe
            if session.is_on_cores:  # which packing answers takes too
                self._wind_up(refused, executed, token_us, now_us)
        finally:
            self._pass_on(self._turns.on_core_us() if session.is_on_cores else used_us)
        if not session.is_on_cores:
            self._wind_up(refused, executed, token_us, now_us)

    def _wind_up(self, refused: list[Finished], executed: list[Executed], token_us: int, now_us: int) -> None:
        """Learn from a batch, and let its answers go."""
        self._pace.learn(executed)
        self._outgoing += refused + finish(executed, token_us, now_us)
        if not self._next_is_soon():
            self._deliver_outgoing()

    def _idle_s(self) -> float | None:
        """How long there is nothing to run unless something comes in; None: for ever."""
        if self._stopping or self._queue:
            return 0.0
        return None if self._probe is None else us_to_s(self._probe.waits_us())

    def _has_work(self) -> bool:
        return bool(self._queue) or (not self._stopping and self._idle_s() == 0)

    def _note_work(self, used_us: int) -> None:
        if self._probe is not None:
            self._probe.note_work(used_us)

    # Tokens

    def _pass_on(self, used_us: int) -> None:
        """Give the token back, and ask for the next one where there is more to do."""
        has_more = (self._has_work() or not self._inbox.empty()) and not self._moves
        self._turns.pass_on(used_us, self._expected_us() if has_more else None)

    def _expected_us(self) -> int:
        return self._queue.expected_us() or (self._probe.last_us if self._probe else 0) or self._pace.last_us

    def turn(self) -> AbstractContextManager[None]:
        """For the replica's own thread: a token around what computes on its chunks outside of a batch."""
        return self._turns.one(self._pace.last_us, self._turn_patience_us)

    def _move(self, session: Session, move: Move) -> None:
        """The new chunks first, because warming up there takes turns on them."""
        self._turns.withdraw()
        self._turns.share(move.share)
        try:
            session.move(move.chunks)
        except ModelFault as fault:
            self._turns.share(self._share)
            move.done.set_exception(fault)
            return
        self._share = move.share
        self._note_chunks()
        move.done.set_result(None)

    # Work

    def _take_in(self, wait_s: float | None = 0.0) -> None:
        """What came in, or the next that comes within that time; None: however long that takes."""
        while wait_s != 0 or not self._inbox.empty():
            try:
                item = self._inbox.get(timeout=wait_s)
            except Empty:
                return
            wait_s = 0.0
            match item:
                case Job() as job:
                    self._queue.push(job)
                case Probe() as probe:
                    self._accept_probe(probe)
                case UseTable(profile):
                    self._pace.learn_profile(profile)
                case Move() as move:
                    self._moves.append(move)
                case Unwanted():
                    self._queue.note_unwanted()
                case _:
                    self._stopping = True

    def _accept_probe(self, probe: Probe) -> None:
        if not probe.done.set_running_or_notify_cancel():
            return
        if self._probe is not None:
            probe.refuse("another measurement is under way")
            return
        probe.begin()
        self._probe = probe

    def _note_chunks(self) -> None:
        self._pace.hold(self._share.mask.bit_count(), self._gate.chunks)

    def _deliver_outgoing(self) -> None:
        if self._outgoing:
            self._deliver(self._outgoing)
            self._outgoing = []

    def _next_is_soon(self) -> bool:
        """Whether answers may ride with those of the next batch: waking the event loop costs more than a tiny batch."""
        more = bool(self._queue) or not self._inbox.empty()
        return more and self._pace.last_us < TINY_BATCH_US and len(self._outgoing) < TOGETHER_LIMIT
