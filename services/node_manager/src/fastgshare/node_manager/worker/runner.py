"""One replica's thread: pinned to its chunks, it loads the model and runs batches, each under a token.

The batch is chosen after the token is granted, so that it holds what waits then. Times are measured around the run
itself. Everything that can be done off the event loop (reading tensors, packing answers) is done here.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from fastgshare.node_manager.core.batching import Job, WorkQueue
from fastgshare.node_manager.core.tokens import mask_of
from fastgshare.node_manager.devices.faults import InputUnusable, ModelFault
from fastgshare.node_manager.devices.ports import Device, ModelInfo, Session
from fastgshare.node_manager.worker.assemble import Request, batch_feed, split_outputs
from fastgshare.node_manager.worker.gate import TokenGate
from fastgshare.shared.arrays import Array, to_array
from fastgshare.shared.clock import monotonic_us, unix_us
from fastgshare.shared.errors import ErrorBody, ErrorCode, FastGShareError, SlotInvalid
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.messages import MeasureRequest, Profile, Timing


class MeasurementRefused(FastGShareError):
    """A measurement that cannot be made now, through no fault of the model: field `reason`."""

    def __str__(self) -> str:
        return str(self.fields["reason"])


@dataclass(frozen=True, slots=True)
class Finished:
    """A job's end: its rows of the outputs, or why there are none."""

    job: Job
    result: dict[str, Array] | ErrorBody
    timing: Timing


@dataclass(slots=True)
class Probe:
    """A measurement under way: the same batch again and again, between real work."""

    request: MeasureRequest
    feed: dict[str, Array]
    done: "Future[list[int]]"
    execute_us: list[int] = field(default_factory=list)
    warmups: int = 0
    begun_us: int = 0


@dataclass(frozen=True, slots=True)
class _Table:
    profile: Profile | None


_STOP = object()
TINY_BATCH_US = 200
# Waking a replica's thread and the event loop again costs about this much (docs/decisions/0003).
HERE_BELOW_US = 60
# The event loop stands still for a run there: after one this long the thread takes over until they are short again.
HERE_LIMIT_US = 5_000
QUICKNESS_WEIGHT = 0.1
TOGETHER_LIMIT = 64


class Runner:
    """The thread and its inbox. Methods are called from the event loop; callbacks leave from the thread."""

    def __init__(
        self,
        replica: ReplicaId,
        device: Device,
        chunks: tuple[int, ...],
        gate: TokenGate,
        queue: WorkQueue,
        deliver: Callable[[list[Finished]], None],
        on_fault: Callable[[BaseException], None],
    ) -> None:
        self._replica = replica
        self._device = device
        self._chunks = chunks
        self._mask = mask_of(chunks)
        self._gate = gate
        self._queue = queue
        self._deliver = deliver
        self._on_fault = on_fault
        self._inbox: SimpleQueue[object] = SimpleQueue()
        self._probe: Probe | None = None
        self._outgoing: list[Finished] = []
        self._last_execute_us = 0
        self._usual_us = float("inf")
        self._session: Session | None = None
        self._holder_here = ReplicaId(f"{replica}:here")
        self._stopping = False
        self._has_ended = False
        self._is_faulted = False
        self._thread: threading.Thread | None = None

    def start(self, load: Callable[[], Session]) -> "Future[ModelInfo]":
        """Start the thread; the future tells what the model is, or raises ModelFault."""
        loaded: Future[ModelInfo] = Future()
        self._thread = threading.Thread(
            target=self._main, args=(load, loaded), name=f"replica-{self._replica}", daemon=True
        )
        self._thread.start()
        return loaded

    def submit(self, job: Job) -> None:
        """Queue a job; one that comes after the end is answered as unavailable."""
        self._put(job)

    @property
    def is_quick(self) -> bool:
        """Whether a batch usually takes less than waking this thread for it."""
        return self._usual_us <= HERE_BELOW_US

    def run_here(self, jobs: list[Job]) -> list[Finished] | None:
        """Run jobs on the calling thread, for quick models; None: the chunks are taken, submit them.

        The caller sees to it that nothing waits here that they would overtake.
        """
        session = self._session
        if session is None or not self._gate.try_acquire(self._holder_here, self._mask):
            return None
        try:
            now_us = unix_us()
            here = self._queue.sibling()
            for job in jobs:
                here.push(job)
            finished = [Finished(job, _late(job, now_us), Timing()) for job in here.hopeless(now_us)]
            while batch := here.take(now_us):
                started_us = monotonic_us()
                finished += self._run(session, batch, 0, now_us)
                took_us = monotonic_us() - started_us
                if took_us > HERE_LIMIT_US:
                    self._usual_us = max(self._usual_us, took_us)
                    self._submit_all(here, now_us)
            return finished
        finally:
            self._gate.release(self._holder_here)

    def measure(self, request: MeasureRequest, feed: dict[str, Array]) -> "Future[list[int]]":
        """Time runs of `feed` in microseconds; raises ModelFault or MeasurementRefused through the future."""
        done: Future[list[int]] = Future()
        self._put(Probe(request, feed, done))
        return done

    def learn_profile(self, profile: Profile | None) -> None:
        """Use this table for choosing batches."""
        self._inbox.put(_Table(profile))

    def stop(self) -> None:
        """End the thread once its inbox is worked off; does not wait."""
        self._inbox.put(_STOP)

    def _put(self, item: Job | Probe) -> None:
        self._inbox.put(item)
        if self._has_ended:  # the thread's last look may have come before this
            self._refuse_left()

    def _submit_all(self, waiting: WorkQueue, now_us: int) -> None:
        while batch := waiting.take(now_us):
            for job in batch:
                self.submit(job)

    def _refuse_left(self) -> None:
        """Answer what nobody will work on. Jobs of a faulted worker stay open: their gateways send them elsewhere."""
        jobs: list[Job] = []
        while True:
            try:
                item = self._inbox.get_nowait()
            except Empty:
                break
            if isinstance(item, Job):
                jobs.append(item)
            elif isinstance(item, Probe) and item.done.set_running_or_notify_cancel():
                item.done.set_exception(_stopped())
        if jobs and not self._is_faulted:
            error = ErrorBody(ErrorCode.UNAVAILABLE, "the replica was stopped")
            self._deliver([Finished(job, error, Timing()) for job in jobs])

    def _main(self, load: Callable[[], Session], loaded: "Future[ModelInfo]") -> None:
        loaded.set_running_or_notify_cancel()  # from here on whoever waits for it cannot cancel it any more
        try:
            self._device.enter(self._chunks)
            try:
                session = load()
            except ModelFault as fault:
                loaded.set_exception(fault)
                return
            self._session = session
            loaded.set_result(session.info)
            while not self._stopping or self._queue:  # whoever waits gets an answer first
                self._turn(session)
            self._deliver_outgoing()
        except BaseException as error:
            self._is_faulted = True
            self._on_fault(error)
        finally:
            if self._probe is not None:
                self._probe.done.set_exception(_stopped())
            self._has_ended = True
            self._refuse_left()

    def _turn(self, session: Session) -> None:
        """Take what arrived, then run one batch, or one measured run when nothing waits."""
        self._take_in(block=not self._stopping and not self._queue and self._probe is None)
        if not self._queue and self._probe is None:
            self._deliver_outgoing()  # what came in was no work for the answers to wait for
            return
        asked_us = monotonic_us()
        self._gate.acquire(self._replica, self._mask)
        try:
            token_us = monotonic_us() - asked_us
            self._take_in(block=False)
            now_us = unix_us()
            finished = [Finished(job, _late(job, now_us), Timing()) for job in self._queue.hopeless(now_us)]
            batch = self._queue.take(now_us)
            if batch:
                finished += self._run(session, batch, token_us, now_us)
            elif self._probe is not None:
                self._probe_once(session, self._probe)
        finally:
            self._gate.release(self._replica)
        self._outgoing += finished
        if not self._next_is_soon():
            self._deliver_outgoing()

    def _deliver_outgoing(self) -> None:
        if self._outgoing:
            self._deliver(self._outgoing)
            self._outgoing = []

    def _next_is_soon(self) -> bool:
        """Whether answers may ride with those of the next batch: waking the event loop costs more than a tiny batch."""
        more = bool(self._queue) or not self._inbox.empty()
        return more and self._last_execute_us < TINY_BATCH_US and len(self._outgoing) < TOGETHER_LIMIT

    def _take_in(self, block: bool) -> None:
        while block or not self._inbox.empty():
            block = False
            match self._inbox.get():
                case Job() as job:
                    self._queue.push(job)
                case Probe() as probe:
                    self._accept_probe(probe)
                case _Table(profile):
                    self._queue.timetable.learn_profile(profile)
                case _:
                    self._stopping = True

    def _run(self, session: Session, batch: list[Job], token_us: int, now_us: int) -> list[Finished]:
        """Run a batch; requests whose own tensors are unusable drop out before it."""
        finished: list[Finished] = []
        jobs: list[Job] = []
        feeds: list[dict[str, Array]] = []
        for job in batch:
            try:
                feeds.append(_feed(job))
                jobs.append(job)
            except ValueError as error:
                finished.append(Finished(job, ErrorBody(ErrorCode.INVALID, str(error)), Timing()))
            except SlotInvalid as error:
                finished.append(Finished(job, ErrorBody(ErrorCode.TENSOR_UNREACHABLE, str(error)), Timing()))
        if not jobs:
            return finished
        rows = sum(job.rows for job in jobs)
        started_us = monotonic_us()
        try:
            outputs = session.run(batch_feed(feeds))
            parts = split_outputs(outputs, jobs)
        except ModelFault as fault:
            if len(jobs) > 1:  # one of them is at fault: the others must not pay for it
                return finished + [f for job in jobs for f in self._run(session, [job], token_us, now_us)]
            return [*finished, Finished(jobs[0], _failed(fault), Timing())]
        execute_us = monotonic_us() - started_us
        self._last_execute_us = execute_us
        if self._usual_us == float("inf"):
            self._usual_us = execute_us
        self._usual_us += QUICKNESS_WEIGHT * (execute_us - self._usual_us)
        self._queue.timetable.learn_run(rows, execute_us)
        for job, part in zip(jobs, parts, strict=True):
            timing = Timing(max(now_us - job.arrived_us - token_us, 0), token_us, execute_us, rows)
            finished.append(Finished(job, part, timing))
        return finished

    def _accept_probe(self, probe: Probe) -> None:
        if not probe.done.set_running_or_notify_cancel():
            return
        if self._probe is not None:
            probe.done.set_exception(MeasurementRefused(reason="another measurement is under way"))
            return
        self._probe = probe

    def _probe_once(self, session: Session, probe: Probe) -> None:
        started_us = monotonic_us()
        try:
            session.run(probe.feed)
        except ModelFault as fault:
            self._probe = None
            probe.done.set_exception(fault)
            return
        now_us = monotonic_us()
        request = probe.request
        if probe.warmups < request.warmup_runs:
            probe.warmups += 1
            probe.begun_us = now_us
            return
        probe.begun_us = probe.begun_us or started_us
        probe.execute_us.append(now_us - started_us)
        runs = len(probe.execute_us)
        spent = now_us - probe.begun_us >= request.budget_ms * 1000 and runs >= request.min_runs
        if spent or runs >= request.max_runs:
            self._probe = None
            probe.done.set_result(probe.execute_us)


def _stopped() -> MeasurementRefused:
    return MeasurementRefused(reason="the replica was stopped")


def _feed(job: Job) -> dict[str, Array]:
    request = job.content
    assert isinstance(request, Request)
    if request.arrays is None:
        request.arrays = {tensor.name: to_array(tensor) for tensor in request.inputs}
    return request.arrays


def _late(job: Job, now_us: int) -> ErrorBody:
    left_ms = (job.deadline_us - now_us) / 1000
    return ErrorBody(ErrorCode.DEADLINE_EXCEEDED, f"{left_ms:.0f} ms were left when its turn came, too few to run it")


def _failed(fault: ModelFault) -> ErrorBody:
    if isinstance(fault, InputUnusable):
        return ErrorBody(ErrorCode.INVALID, fault.reason)
    return ErrorBody(ErrorCode.MODEL_FAILED, f"the model failed on this input: {fault.reason}")
