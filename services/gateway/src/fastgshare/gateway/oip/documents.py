"""The JSON objects of an inference, field by field as the protocol names them.

Source: Open Inference Protocol v2, "Inference Request JSON Object" and "Inference Response JSON Object", with
the binary tensor data extension. Unknown fields and parameters are let pass, as the protocol asks.
"""

from typing import Annotated

import msgspec

MAX_DIMENSIONS = 16

Length = Annotated[int, msgspec.Meta(ge=0)]
Shape = Annotated[tuple[Length, ...], msgspec.Meta(max_length=MAX_DIMENSIONS)]
Count = Annotated[int, msgspec.Meta(ge=0)]

NO_DATA = msgspec.Raw()


class InputParameters(msgspec.Struct, gc=False):
    """What may stand beside an input: the size of its bytes behind the JSON, or a region of shared memory."""

    binary_data_size: Count | None = None
    shared_memory_region: str | None = None


class InputDocument(msgspec.Struct, gc=False):
    """One input. `data` stays raw until its datatype says how to read it."""

    name: str
    datatype: str
    shape: Shape
    data: msgspec.Raw = NO_DATA
    parameters: InputParameters | None = None


class OutputParameters(msgspec.Struct, gc=False):
    """What may stand beside a wanted output."""

    binary_data: bool | None = None
    classification: int = 0
    shared_memory_region: str | None = None


class OutputDocument(msgspec.Struct, gc=False):
    """One wanted output."""

    name: str
    parameters: OutputParameters | None = None


class RequestParameters(msgspec.Struct, gc=False):
    """Parameters of the whole request that mean something here; `timeout` in microseconds, as in Triton."""

    timeout: Count = 0
    binary_data_output: bool = False
    sequence_id: int | str = 0


class RequestDocument(msgspec.Struct, gc=False):
    """An inference request."""

    inputs: list[InputDocument]
    id: str = ""
    outputs: list[OutputDocument] = []
    parameters: RequestParameters | None = None


class BinarySize(msgspec.Struct, gc=False):
    """How many of the bytes behind the JSON an output has."""

    binary_data_size: int


class ResultDocument(msgspec.Struct, gc=False, omit_defaults=True):
    """One output of an answer: either `data`, or `parameters` with the size of its bytes behind the JSON."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: BinarySize | None = None
    data: tuple[object, ...] | list[str] | None = None


class ReplyDocument(msgspec.Struct, gc=False, omit_defaults=True):
    """An inference answer."""

    model_name: str
    outputs: list[ResultDocument]
    model_version: str = ""
    id: str = ""
