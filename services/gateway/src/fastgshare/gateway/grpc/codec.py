"""From `ModelInferRequest` to `InferRequest`, and answers back. No I/O, no clock.

Inputs come as bytes (`raw_input_contents`, in their order) or in typed fields, never in both; outputs leave as bytes.
Whatever a caller got wrong is a `RequestRefused` whose body says what was expected.
"""

from collections.abc import Mapping

from fastgshare.gateway.grpc.protos.inference_pb2 import (
    InferParameter,
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
)
from fastgshare.gateway.grpc.values import ValuesUnusable, pack_contents
from fastgshare.gateway.oip.documents import MAX_DIMENSIONS
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused
from fastgshare.shared.messages import INFER_VERSION, InferReply, InferRequest, Tensor

TIMEOUT = "timeout"
SEQUENCE = "sequence_id"
EMPTY_FINAL = "triton_enable_empty_final_response"
FINAL = "triton_final_response"
_NOT_OFFERED = ("classification", "shared_memory_region")


def decode(request: ModelInferRequest) -> InferRequest:
    """The tensors of a request, and the outputs it wants. Raises RequestRefused."""
    if SEQUENCE in request.parameters and _is_set(request.parameters[SEQUENCE]):
        raise invalid("sequence_id is given, but functions here keep no state between requests")
    wanted = []
    for output in request.outputs:
        _refuse_extras("output", output.name, output.parameters)
        wanted.append(output.name)
    return InferRequest(INFER_VERSION, _inputs(request), tuple(wanted))


def timeout_us(request: ModelInferRequest) -> int:
    """What the request's `timeout` parameter says, in microseconds; 0 for nothing. Raises RequestRefused."""
    if TIMEOUT not in request.parameters:
        return 0
    parameter = request.parameters[TIMEOUT]
    kind = parameter.WhichOneof("parameter_choice")
    value = getattr(parameter, kind) if kind in ("int64_param", "uint64_param") else -1
    if value < 0:
        raise invalid("parameter timeout is no number of microseconds")
    return int(value)


def wants_empty_final(request: ModelInferRequest) -> bool:
    """Whether the caller of a stream wants to be told of the end by an answer without outputs."""
    return EMPTY_FINAL in request.parameters and request.parameters[EMPTY_FINAL].bool_param


def encode(reply: InferReply, asked: ModelInferRequest, version: str) -> ModelInferResponse:
    """An answer's outputs as bytes."""
    outputs = [
        ModelInferResponse.InferOutputTensor(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        for tensor in reply.outputs
    ]
    return ModelInferResponse(
        model_name=asked.model_name,
        model_version=version,
        id=asked.id,
        outputs=outputs,
        raw_output_contents=[bytes(tensor.data) for tensor in reply.outputs],
    )


def encode_part(reply: InferReply, asked: ModelInferRequest, version: str) -> ModelStreamInferResponse:
    """One part of an answer; the last says that it is."""
    response = encode(reply, asked, version)
    response.parameters[FINAL].bool_param = not reply.more
    return ModelStreamInferResponse(infer_response=response)


def encode_refusal(error: ErrorBody, asked: ModelInferRequest) -> ModelStreamInferResponse:
    """A request of a stream that came to nothing; the stream goes on."""
    response = ModelInferResponse(model_name=asked.model_name, id=asked.id)
    response.parameters[FINAL].bool_param = True
    return ModelStreamInferResponse(error_message=error.message, infer_response=response)


def invalid(message: str) -> RequestRefused:
    """The refusal of a request that its caller got wrong."""
    return RequestRefused(ErrorBody(ErrorCode.INVALID, message))


def _inputs(request: ModelInferRequest) -> tuple[Tensor, ...]:
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise invalid(f"raw_input_contents has {len(raw)} entries for {len(request.inputs)} inputs")
    tensors = []
    for index, given in enumerate(request.inputs):
        _refuse_extras("input", given.name, given.parameters)
        shape = tuple(given.shape)
        if len(shape) > MAX_DIMENSIONS or any(length < 0 for length in shape):
            raise invalid(f"input '{given.name}' has shape {list(shape)[:32]}, expected up to {MAX_DIMENSIONS} lengths")
        if raw:
            if given.HasField("contents"):
                raise invalid(f"input '{given.name}' has both contents and raw_input_contents, expected one")
            data = raw[index]
        else:
            data = _typed(given, shape)
        tensors.append(Tensor(given.name, given.datatype, shape, memoryview(data)))
    return tuple(tensors)


def _typed(given: ModelInferRequest.InferInputTensor, shape: tuple[int, ...]) -> bytes:
    try:
        return pack_contents(given.datatype, shape, given.contents)
    except ValuesUnusable as error:
        raise invalid(f"input '{given.name}': {error}") from None


def _refuse_extras(what: str, name: str, parameters: Mapping[str, InferParameter]) -> None:
    for extra in _NOT_OFFERED if parameters else ():
        if extra in parameters and _is_set(parameters[extra]):
            raise invalid(f"{what} '{name}' asks for classification or shared memory: not offered")


def _is_set(parameter: InferParameter) -> bool:
    kind = parameter.WhichOneof("parameter_choice")
    return kind is not None and bool(getattr(parameter, kind))
