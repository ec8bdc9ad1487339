"""Answers in parts, from the caller's side: parts of one attempt, in order, none missing and none twice.

A request may be dispatched again when its replica is lost, and two gateways may dispatch one that was sent twice. Two
runs of a handler need not yield the same, so the first that answers is heard to its end, and a stream whose replica was
lost in the middle ends with an error.
"""

from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.ids import AttemptId, ReplicaId
from fastgshare.shared.messages import INFER_VERSION, InferReply

RETRY_AFTER_MS = 100


class PartOrder:
    """The parts of one request as they arrive."""

    __slots__ = ("_source", "taken")

    def __init__(self) -> None:
        self.taken = 0
        self._source: tuple[ReplicaId | None, AttemptId] | None = None

    def take(self, reply: InferReply) -> InferReply | None:
        """What its caller gets of `reply`: itself, the error that ends the stream here, or nothing."""
        if reply.attempt is None:
            return reply  # a gateway's refusal
        source = (reply.replica, reply.attempt)
        if self._source is None:
            self._source = source
        if source != self._source:
            begun_anew = _number(source[1]) > _number(self._source[1])
            return self.broken("its replica or the bus was lost, and it was begun anew") if begun_anew else None
        if reply.part < self.taken:
            return None
        if reply.part > self.taken:
            return self.broken(f"part {self.taken} was lost")
        self.taken += 1
        return reply

    def broken(self, why: str) -> InferReply:
        """The error that ends the stream here. No part is sent twice, so all that helps is another call."""
        message = f"the stream broke off after {self.taken} parts: {why}; call again for the whole answer"
        return InferReply(INFER_VERSION, error=ErrorBody(ErrorCode.UNAVAILABLE, message, RETRY_AFTER_MS))


def whole(reply: InferReply) -> InferReply:
    """`reply` for a caller that takes one answer: a function that streams is not for it."""
    if not reply.more and not reply.part:
        return reply
    message = "this function answers in parts: call it by infer_stream, ModelStreamInfer or invoke_stream"
    return InferReply(INFER_VERSION, error=ErrorBody(ErrorCode.INVALID, message))


def _number(attempt: AttemptId) -> int:
    tail = attempt.rpartition(".")[2]
    return int(tail) if tail.isdecimal() else 0
