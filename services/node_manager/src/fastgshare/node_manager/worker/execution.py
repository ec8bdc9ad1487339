"""One batch on a session: tensors in, one run under a token, everybody's own rows or reason out.

What needs the device is `execute`; reading tensors before it and splitting outputs after it hold no token.
"""

from dataclasses import dataclass

from fastgshare.node_manager.core.batching import Job
from fastgshare.node_manager.devices.faults import InputUnusable, ModelFault
from fastgshare.node_manager.devices.ports import Ran, Session
from fastgshare.node_manager.worker.assemble import Request, batch_feed, split_outputs
from fastgshare.shared.arrays import Array, to_array
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.errors import ErrorBody, ErrorCode, SlotInvalid
from fastgshare.shared.messages import Timing
from fastgshare.shared.telemetry.spans_request import BatchRun


@dataclass(frozen=True, slots=True)
class Finished:
    """A job's end: its rows of the outputs, or why there are none; and the batch it ran in, if it came to one."""

    job: Job
    result: dict[str, Array] | ErrorBody
    timing: Timing
    batch: BatchRun | None = None


@dataclass(frozen=True, slots=True)
class Executed:
    """Jobs that ran together, what came of it, and how long the device was busy with it."""

    jobs: list[Job]
    outcome: Ran | ModelFault
    used_us: int


def read_feeds(batch: list[Job]) -> tuple[list[Job], list[dict[str, Array]], list[Finished]]:
    """The jobs whose tensors can be used, with those; the others are finished."""
    jobs: list[Job] = []
    feeds: list[dict[str, Array]] = []
    refused: list[Finished] = []
    for job in batch:
        try:
            feeds.append(_feed(job))
            jobs.append(job)
        except ValueError as error:
            refused.append(Finished(job, ErrorBody(ErrorCode.INVALID, str(error)), Timing()))
        except SlotInvalid as error:
            refused.append(Finished(job, ErrorBody(ErrorCode.TENSOR_UNREACHABLE, str(error)), Timing()))
    return jobs, feeds, refused


def execute(session: Session, jobs: list[Job], feeds: list[dict[str, Array]]) -> list[Executed]:
    """Run jobs as one batch; where that fails, each alone: one of them is at fault, and the others must not pay."""
    started_us = monotonic_us()
    try:
        ran = session.run(batch_feed(feeds))
        return [Executed(jobs, ran, ran.device_us)]
    except ModelFault as fault:
        executed = Executed(jobs, fault, monotonic_us() - started_us)
    if len(jobs) == 1:
        return [executed]
    failed = Executed([], executed.outcome, executed.used_us)
    return [failed, *(one for job, feed in zip(jobs, feeds, strict=True) for one in execute(session, [job], [feed]))]


def finish(executed: list[Executed], token_us: int, now_us: int) -> list[Finished]:
    """Everybody's own end; `token_us` is how long the batch waited for its token until `now_us`."""
    return [end for one in executed for end in _finish(one, token_us, now_us)]


def late(job: Job, now_us: int) -> Finished:
    """The end of a job that cannot meet its deadline any more."""
    left_ms = (job.deadline_us - now_us) / 1000
    text = f"{left_ms:.0f} ms were left when its turn came, too few to run it"
    waited = Timing(queue_us=max(now_us - job.arrived_us, 0))
    return Finished(job, ErrorBody(ErrorCode.DEADLINE_EXCEEDED, text), waited)


def _finish(executed: Executed, token_us: int, now_us: int) -> list[Finished]:
    jobs, outcome = executed.jobs, executed.outcome
    if isinstance(outcome, ModelFault):
        return [Finished(job, _failed(outcome), Timing()) for job in jobs]
    try:
        parts = split_outputs(outcome.outputs, jobs)
    except ModelFault as fault:  # no rows to hand out: nobody's input is to blame
        return [Finished(job, _failed(fault), Timing()) for job in jobs]
    rows = sum(job.rows for job in jobs)
    batch = BatchRun(started_us=now_us, used_us=executed.used_us, rows=rows, requests=len(jobs), left=len(jobs))
    finished: list[Finished] = []
    for job, part in zip(jobs, parts, strict=True):
        waited_us = max(now_us - job.arrived_us, 0)
        own_token_us = min(token_us, waited_us)
        timing = Timing(waited_us - own_token_us, own_token_us, executed.used_us, rows)
        finished.append(Finished(job, part, timing, batch))
    return finished


def _feed(job: Job) -> dict[str, Array]:
    request = job.content
    assert isinstance(request, Request)
    if request.arrays is None:
        request.arrays = {tensor.name: to_array(tensor) for tensor in request.inputs}
    return request.arrays


def _failed(fault: ModelFault) -> ErrorBody:
    if isinstance(fault, InputUnusable):
        return ErrorBody(ErrorCode.INVALID, fault.reason)
    return ErrorBody(ErrorCode.MODEL_FAILED, f"the model failed on this input: {fault.reason}")
