"""A message from a gateway to a request, or to the reason why it cannot be one."""

from nats.aio.msg import Msg

from fastgshare.node_manager.core.batching import Job
from fastgshare.node_manager.worker.assemble import Request
from fastgshare.shared.arrays import Array
from fastgshare.shared.codec import decode
from fastgshare.shared.errors import ErrorBody, ErrorCode, PayloadInvalid
from fastgshare.shared.ids import is_name
from fastgshare.shared.messages import InferRequest, Signature, Work
from fastgshare.shared.tensors import problem_with_inputs
from fastgshare.shared.units import BYTES_PER_KIB

SMALL_BYTES = 16 * BYTES_PER_KIB


def read_work(msg: Msg, now_us: int) -> tuple[Work, Request]:
    """The envelope of a message. Raises PayloadInvalid: it is from no gateway of ours."""
    work = decode(Work, msg.data)
    if work.gateway is not None and not is_name(work.gateway):  # it becomes a subject
        raise PayloadInvalid(expected="Work", reason=f"gateway {work.gateway!r} is no name")
    request = Request(msg.reply, work.attempt, work.gateway, work.deadline_us, now_us)
    request.traceparent = work.traceparent
    request.objective_us = work.objective_us
    return work, request


def fill_request(request: Request, work: Work, signature: Signature, max_batch: int) -> ErrorBody | None:
    """Decode the caller's payload and hold it against the signature; what is wrong with it, if anything."""
    try:
        message = decode(InferRequest, work.request)
    except PayloadInvalid as error:
        return ErrorBody(ErrorCode.INVALID, str(error))
    problem = problem_with_inputs(message.inputs, signature.inputs, max_batch if signature.batched else 0)
    if problem is not None:
        return ErrorBody(ErrorCode.INVALID, problem)
    request.inputs = message.inputs
    request.outputs = message.outputs
    request.reply_slot = message.reply_slot
    return None


def is_small(request: Request) -> bool:
    """Whether a request's tensors, in and out, are inline and few enough bytes to be read on the event loop."""
    if request.reply_slot is not None:
        return False
    size_bytes = 0
    for tensor in request.inputs:
        if tensor.slot is not None:
            return False
        size_bytes += tensor.data.nbytes
    return size_bytes <= SMALL_BYTES


def plain_job(request: Request, batched: bool) -> Job:
    """A request whose tensors feed the model as they are."""
    if not batched:
        return Job(request.deadline_us, 1, object(), request.arrived_us, request)
    shapes = tuple((tensor.name, tensor.shape[1:]) for tensor in request.inputs)
    rows = request.inputs[0].shape[0]
    return Job(request.deadline_us, rows, frozenset(shapes), request.arrived_us, request)


def handled_job(request: Request, arrays: dict[str, Array], batched: bool, now_us: int) -> Job:
    """A request whose handler made these model inputs."""
    request.arrays = arrays
    if not batched:
        return Job(request.deadline_us, 1, object(), now_us, request)
    shapes = frozenset((name, array.shape[1:]) for name, array in arrays.items())
    rows = next(iter(arrays.values())).shape[0]
    return Job(request.deadline_us, rows, shapes, now_us, request)
