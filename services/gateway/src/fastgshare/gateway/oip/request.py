"""From an inference request's body to `InferRequest`.

A body is one JSON object, or, with the binary tensor data extension, one JSON object of a stated length and
behind it the bytes of the inputs that give a `binary_data_size`, in their order. Binary inputs become views
into the body.
"""

import msgspec

from fastgshare.gateway.oip.documents import (
    NO_DATA,
    InputDocument,
    OutputDocument,
    RequestDocument,
    RequestParameters,
)
from fastgshare.gateway.oip.numbers import ValuesInvalid, pack_json
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused
from fastgshare.shared.messages import INFER_VERSION, InferRequest, Tensor
from fastgshare.shared.typed import json_decoder

_decoder: "msgspec.json.Decoder[RequestDocument]" = json_decoder(RequestDocument)
_NO_PARAMETERS = RequestParameters()


class DecodedRequest(msgspec.Struct, frozen=True, gc=False):
    """A request, and how its caller wants it answered.

    `timeout_us` is 0 where the caller gave none. `binary` says by name which outputs go binary; those not
    named follow `binary_by_default`.
    """

    request: InferRequest
    request_id: str = ""
    timeout_us: int = 0
    binary_by_default: bool = False
    binary: dict[str, bool] = {}


def decode_json_request(body: bytes) -> InferRequest:
    """A request that is JSON throughout. Raises RequestRefused."""
    return decode_request(body, None).request


def decode_request(body: bytes, json_bytes: int | None) -> DecodedRequest:
    """A request whose first `json_bytes` are JSON and the rest binary; None: all of it is JSON.

    Raises:
        RequestRefused: malformed; the message names what was expected.
    """
    document = _read_document(body, json_bytes)
    parameters = document.parameters or _NO_PARAMETERS
    if parameters.sequence_id:
        raise invalid("sequence_id is given, but functions here keep no state between requests")
    rest = memoryview(body)[len(body) if json_bytes is None else json_bytes :]
    request = InferRequest(
        INFER_VERSION,
        _read_inputs(document.inputs, rest),
        tuple(output.name for output in document.outputs),
    )
    return DecodedRequest(
        request,
        document.id,
        parameters.timeout,
        parameters.binary_data_output,
        _binary_outputs(document.outputs) if document.outputs else {},
    )


def invalid(message: str) -> RequestRefused:
    """The refusal of a request that its caller got wrong."""
    return RequestRefused(ErrorBody(ErrorCode.INVALID, message))


def _read_document(body: bytes, json_bytes: int | None) -> RequestDocument:
    if json_bytes is not None and json_bytes > len(body):
        raise invalid(f"the JSON should take {json_bytes} bytes, but the body has {len(body)}")
    try:
        return _decoder.decode(body if json_bytes is None else memoryview(body)[:json_bytes])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"not an inference request: {error}") from None


def _read_inputs(documents: list[InputDocument], rest: memoryview) -> tuple[Tensor, ...]:
    tensors = []
    for document in documents:
        size = _binary_size(document)
        if size is None:
            tensors.append(_from_json(document))
            continue
        if size > len(rest):
            raise invalid(f"input '{document.name}' should have {size} binary bytes, {len(rest)} are left")
        tensors.append(Tensor(document.name, document.datatype, document.shape, rest[:size]))
        rest = rest[size:]
    if rest:
        raise invalid(f"{len(rest)} binary bytes are left over behind the last input")
    return tuple(tensors)


def _binary_size(document: InputDocument) -> int | None:
    parameters = document.parameters
    if parameters is not None and parameters.shared_memory_region is not None:
        raise invalid(f"input '{document.name}' names a shared-memory region; send its data instead")
    size = parameters.binary_data_size if parameters is not None else None
    if (size is None) == (document.data is NO_DATA):
        given = "neither" if size is None else "both"
        raise invalid(f"input '{document.name}' has {given} of data and binary_data_size, expected one")
    return size


def _from_json(document: InputDocument) -> Tensor:
    try:
        data = pack_json(document.datatype, document.shape, document.data)
    except ValuesInvalid as error:
        raise invalid(f"input '{document.name}': {error}") from None
    return Tensor(document.name, document.datatype, document.shape, memoryview(data))


def _binary_outputs(documents: list[OutputDocument]) -> dict[str, bool]:
    binary: dict[str, bool] = {}
    for document in documents:
        parameters = document.parameters
        if parameters is None:
            continue
        if parameters.classification or parameters.shared_memory_region is not None:
            raise invalid(f"output '{document.name}' asks for classification or shared memory: not offered")
        if parameters.binary_data is not None:
            binary[document.name] = parameters.binary_data
    return binary
