"""From `InferReply` to the bytes of an answer: JSON, or JSON with binary tensors behind it.

Binary tensors are passed on as the views they came as. Numbers that JSON cannot say (NaN, infinities) become
null; a caller who needs them asks for binary data.
"""

import msgspec

from fastgshare.gateway.oip.documents import BinarySize, ReplyDocument, ResultDocument
from fastgshare.gateway.oip.numbers import ValuesInvalid, unpack_json
from fastgshare.gateway.oip.request import DecodedRequest
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused
from fastgshare.shared.messages import INFER_VERSION, InferReply, InferRequest, Tensor

_encoder = msgspec.json.Encoder()
_PLAIN = DecodedRequest(InferRequest(INFER_VERSION, ()))

Chunk = bytes | memoryview


class EncodedReply(msgspec.Struct, frozen=True, gc=False):
    """An answer's bytes in order. `json_bytes` is the length of the JSON where binary tensors follow it."""

    chunks: list[Chunk]
    json_bytes: int | None = None

    @property
    def size_bytes(self) -> int:
        """The length of the whole."""
        return sum(len(chunk) for chunk in self.chunks)


def encode_reply(reply: InferReply, function: str, version: str, asked: DecodedRequest) -> EncodedReply:
    """The outputs of `reply` as its caller asked for them.

    Raises:
        RequestRefused: an output cannot be said in JSON, or its bytes do not fit its own shape.
    """
    results: list[ResultDocument] = []
    chunks: list[Chunk] = [b""]
    for tensor in reply.outputs:
        if asked.binary.get(tensor.name, asked.binary_by_default):
            size = BinarySize(tensor.data.nbytes)
            results.append(ResultDocument(tensor.name, tensor.datatype, tensor.shape, size))
            chunks.append(tensor.data)
        else:
            values = _values(tensor)
            results.append(ResultDocument(tensor.name, tensor.datatype, tensor.shape, data=values))
    head = _encoder.encode(ReplyDocument(function, results, version, asked.request_id))
    chunks[0] = head
    return EncodedReply(chunks, len(head) if len(chunks) > 1 else None)


def encode_json_reply(reply: InferReply, function: str = "", version: str = "", request_id: str = "") -> bytes:
    """An answer that is JSON throughout; a refusal has `error`, `code` and `retry_after_ms`."""
    if reply.error is not None:
        return _encode_refusal(reply.error)
    asked = DecodedRequest(_PLAIN.request, request_id) if request_id else _PLAIN
    try:
        return b"".join(encode_reply(reply, function, version, asked).chunks)
    except RequestRefused as refusal:
        return _encode_refusal(refusal.body)


def encode_error(message: str) -> bytes:
    """`{"error": "..."}`."""
    return _encoder.encode({"error": message})


def _encode_refusal(error: ErrorBody) -> bytes:
    return _encoder.encode({"error": error.message, "code": error.code, "retry_after_ms": error.retry_after_ms})


def _values(tensor: Tensor) -> tuple[object, ...] | list[str]:
    try:
        return unpack_json(tensor.datatype, tensor.shape, tensor.data)
    except ValuesInvalid as error:
        raise RequestRefused(ErrorBody(ErrorCode.INVALID, f"output '{tensor.name}': {error}")) from None
    except ValueError as error:
        raise RequestRefused(ErrorBody(ErrorCode.INTERNAL, f"output '{tensor.name}': {error}")) from None
