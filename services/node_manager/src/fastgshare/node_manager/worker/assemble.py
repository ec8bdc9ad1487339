"""Requests to one batch of arrays and back, and answers to payloads."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastgshare.node_manager.core.batching import Job
from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.shared.arrays import Array, to_tensor
from fastgshare.shared.codec import encode
from fastgshare.shared.errors import ErrorBody, ErrorCode, SlotInvalid
from fastgshare.shared.ids import AttemptId, GatewayId, ReplicaId
from fastgshare.shared.messages import INFER_VERSION, InferReply, SlotRef, Tensor, Timing
from fastgshare.shared.slots import INLINE_LIMIT_BYTES, write_slot

HEADER_ROOM_BYTES = 4096


@dataclass(slots=True)
class Request:
    """What the worker must remember of a request to answer it.

    `arrays` feed the model; `finished` is awaited by the task that carries a request through its handler.
    `traceparent` is its gateway's span, `objective_us` until when an answer meets its objective (0: there is none).
    """

    reply: str
    attempt: AttemptId
    gateway: GatewayId | None
    deadline_us: int
    arrived_us: int
    outputs: tuple[str, ...] = ()
    reply_slot: SlotRef | None = None
    inputs: tuple[Tensor, ...] = ()
    arrays: dict[str, Array] | None = None
    handler_us: int = 0
    finished: "asyncio.Future[Any] | None" = None
    traceparent: str = ""
    objective_us: int = 0


def batch_feed(feeds: list[dict[str, Array]]) -> dict[str, Array]:
    """One feed for all: rows one after the other."""
    if len(feeds) == 1:
        return feeds[0]
    return {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}


def split_outputs(outputs: dict[str, Array], jobs: list[Job]) -> list[dict[str, Array]]:
    """Each job's rows of a batch's outputs, as views. Raises ModelFault where an output has other rows."""
    if len(jobs) == 1:
        return [outputs]
    rows = sum(job.rows for job in jobs)
    for name, output in outputs.items():
        if output.shape[:1] != (rows,):
            raise ModelFault(reason=f"output '{name}' has shape {list(output.shape)} for {rows} rows")
    parts: list[dict[str, Array]] = []
    start = 0
    for job in jobs:
        parts.append({name: output[start : start + job.rows] for name, output in outputs.items()})
        start += job.rows
    return parts


def wanted_tensors(outputs: Mapping[str, Array], wanted: tuple[str, ...]) -> tuple[Tensor, ...] | ErrorBody:
    """Outputs as tensors; only the named ones if any are named."""
    if not wanted:
        return tuple([to_tensor(name, array) for name, array in outputs.items()])
    unknown = [name for name in wanted if name not in outputs]
    if unknown:
        return ErrorBody(ErrorCode.INVALID, f"no output {unknown}, expected some of {list(outputs)}")
    return tuple(to_tensor(name, outputs[name]) for name in wanted)


def answer(
    request: Request,
    replica: ReplicaId,
    result: tuple[Tensor, ...] | ErrorBody,
    timing: Timing,
    max_payload_bytes: int,
) -> tuple[bytes, ErrorBody | None]:
    """The payload of a request's answer, and the error in it if there is one."""
    tensors = result if isinstance(result, ErrorBody) else _place(request, result, max_payload_bytes)
    error = tensors if isinstance(tensors, ErrorBody) else None
    outputs = () if isinstance(tensors, ErrorBody) else tensors
    reply = InferReply(INFER_VERSION, outputs, error, replica, request.attempt, timing)
    return encode(reply), error


def _place(request: Request, tensors: tuple[Tensor, ...], limit: int) -> tuple[Tensor, ...] | ErrorBody:
    """Large outputs into the caller's slot where there is one with room that can be written, else inline."""
    size = sum(tensor.data.nbytes for tensor in tensors)
    room = request.reply_slot
    if size > INLINE_LIMIT_BYTES and room is not None and size <= room.size_bytes:
        with suppress(SlotInvalid):
            write_slot(room, [tensor.data for tensor in tensors])
            return _references(room, tensors)
    if size > limit - HEADER_ROOM_BYTES:
        return ErrorBody(ErrorCode.TOO_LARGE, f"the outputs have {size} bytes, the limit of one message is {limit}")
    return tensors


def _references(room: SlotRef, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    placed: list[Tensor] = []
    offset = room.offset_bytes
    for tensor in tensors:
        ref = SlotRef(room.host, room.name, offset, tensor.data.nbytes)
        placed.append(Tensor(tensor.name, tensor.datatype, tensor.shape, slot=ref))
        offset += tensor.data.nbytes
    return tuple(placed)
