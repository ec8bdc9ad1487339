"""A caller's side of shared-memory tensors: a request's inputs into a slot, room for its outputs behind them.

Used by whoever sends requests (the Python client, and the gateway on behalf of HTTP callers).
"""

from msgspec.structs import replace

from fastgshare.shared.errors import ErrorBody, ErrorCode, SlotInvalid
from fastgshare.shared.messages import InferReply, InferRequest, SlotRef, Tensor
from fastgshare.shared.slots import INLINE_LIMIT_BYTES, Slot, SlotPool

_ALIGNMENT = 64


def inline_bytes(request: InferRequest) -> int:
    """How many tensor bytes the request carries inline."""
    return sum(tensor.data.nbytes for tensor in request.inputs)


def wants_slot(request: InferRequest) -> bool:
    """Whether shared memory beats inline for this request."""
    return inline_bytes(request) > INLINE_LIMIT_BYTES


def into_slot(request: InferRequest, pool: SlotPool, reply_room_bytes: int) -> tuple[InferRequest, Slot] | None:
    """The request with its tensors in a slot of `pool`, and the slot; None when the pool has no room."""
    slot = pool.take(inline_bytes(request) + reply_room_bytes + _ALIGNMENT * (len(request.inputs) + 1))
    if slot is None:
        return None
    try:
        return _written(request, slot, pool), slot
    except OSError:  # shared memory is full
        pool.abandon(slot)
        return None


def out_of_slot(reply: InferReply, slot: Slot) -> InferReply:
    """The reply with every output inline; those in `slot` are copied out, so that it can be reused.

    A reply that names another slot, or a range that this one does not have, becomes an error.
    """
    if all(tensor.slot is None for tensor in reply.outputs):
        return reply
    try:
        return replace(reply, outputs=tuple(_inline(tensor, slot) for tensor in reply.outputs))
    except SlotInvalid as error:
        told = ErrorBody(ErrorCode.INTERNAL, f"the answer's outputs are not where it says: {error}")
        return replace(reply, outputs=(), error=told)


def _written(request: InferRequest, slot: Slot, pool: SlotPool) -> InferRequest:
    offset = 0
    inputs: list[Tensor] = []
    for tensor in request.inputs:
        size = tensor.data.nbytes
        slot.write(offset, tensor.data)
        ref = SlotRef(pool.host, slot.name, offset, size)
        inputs.append(Tensor(tensor.name, tensor.datatype, tensor.shape, slot=ref))
        offset = _aligned(offset + size)
    room = SlotRef(pool.host, slot.name, offset, slot.size_bytes - offset)
    return replace(request, inputs=tuple(inputs), reply_slot=room)


def _inline(tensor: Tensor, slot: Slot) -> Tensor:
    if tensor.slot is None:
        return tensor
    if tensor.slot.name != slot.name:
        raise SlotInvalid(name=tensor.slot.name, reason=f"is not the slot of this request, {slot.name}")
    data = slot.read(tensor.slot.offset_bytes, tensor.slot.size_bytes)
    return Tensor(tensor.name, tensor.datatype, tensor.shape, memoryview(data))


def _aligned(offset: int) -> int:
    return (offset + _ALIGNMENT - 1) // _ALIGNMENT * _ALIGNMENT
