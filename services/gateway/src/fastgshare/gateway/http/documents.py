"""The documents of the HTTP routes as types, for the API's description; tests hold what is sent to them.

Inference bodies are those of the Open Inference Protocol v2; readers let pass what they do not know, as it asks.
"""

from typing import Annotated, Any, Literal

import msgspec

from fastgshare.gateway.oip.documents import MAX_DIMENSIONS
from fastgshare.shared.messages import FunctionSpec, ReplicaState

Datatype = Literal[
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BF16",
    "BYTES",
]
Shape = Annotated[list[Annotated[int, msgspec.Meta(ge=0)]], msgspec.Meta(max_length=MAX_DIMENSIONS)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Refusal(msgspec.Struct):
    """Why not, in words; `problems` one by one where a definition has several."""

    error: str
    problems: list[str] | msgspec.UnsetType = msgspec.UNSET


class TensorDescription(msgspec.Struct):
    """A tensor that a function takes or gives; -1 in `shape`: any length."""

    name: str
    datatype: str
    shape: list[int]


class FunctionDescription(msgspec.Struct):
    """A function as this gateway sees it; `spec` can be written back."""

    name: str
    generation: int
    serving_generation: int | None
    ready: bool
    ready_replicas: int
    states: dict[ReplicaState, int]
    reasons: list[str]
    inputs: list[TensorDescription] | None
    outputs: list[TensorDescription] | None
    spec: FunctionSpec


class FunctionList(msgspec.Struct):
    """Every function."""

    functions: list[FunctionDescription]


class GatewayStatus(msgspec.Struct):
    """This gateway, and every function as it sees it."""

    gateway: str
    version: str
    ready: bool
    functions: list[FunctionDescription]


class Written(msgspec.Struct):
    """What stands now."""

    name: str
    generation: int
    spec: FunctionSpec


class Removed(msgspec.Struct):
    """A function is gone."""

    name: str
    removed: bool


class Stored(msgspec.Struct):
    """Content is stored; `digest` is what definitions name it by."""

    digest: str
    size_bytes: int


class Server(msgspec.Struct):
    """Who answers here, and which extensions of the protocol."""

    name: str
    version: str
    extensions: list[str]


class Live(msgspec.Struct):
    """Whether the process answers."""

    live: bool


class Ready(msgspec.Struct):
    """Whether requests are taken; of a model with its name."""

    ready: bool
    name: str | msgspec.UnsetType = msgspec.UNSET


class ModelMetadata(msgspec.Struct):
    """A model's tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorDescription]
    outputs: list[TensorDescription]


class ModelStatistics(msgspec.Struct):
    """Counts and times as Triton tells them."""

    model_stats: list[dict[str, Any]]


class IndexEntry(msgspec.Struct):
    """A model in the repository."""

    name: str
    version: str
    state: str
    reason: str


class InferInput(msgspec.Struct):
    """An input: `data` flat or nested, or `parameters.binary_data_size` bytes behind the JSON."""

    name: str
    datatype: Datatype
    shape: Shape
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class InferOutput(msgspec.Struct):
    """A wanted output."""

    name: str
    parameters: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class InferParameters(msgspec.Struct):
    """`timeout` in microseconds."""

    timeout: Count | msgspec.UnsetType = msgspec.UNSET
    binary_data_output: bool | msgspec.UnsetType = msgspec.UNSET


class InferBody(msgspec.Struct):
    """An inference request."""

    inputs: list[InferInput]
    id: str | msgspec.UnsetType = msgspec.UNSET
    outputs: list[InferOutput] | msgspec.UnsetType = msgspec.UNSET
    parameters: InferParameters | msgspec.UnsetType = msgspec.UNSET


class InferResult(msgspec.Struct):
    """An output of an answer."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class InferAnswer(msgspec.Struct):
    """An inference answer."""

    model_name: str
    outputs: list[InferResult]
    model_version: str | msgspec.UnsetType = msgspec.UNSET
    id: str | msgspec.UnsetType = msgspec.UNSET
