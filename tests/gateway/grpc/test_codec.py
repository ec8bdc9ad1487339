"""Typed fields, and what is said of those that are used wrongly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.gateway.grpc import codec
from fastgshare.gateway.grpc.protos.inference_pb2 import InferTensorContents, ModelInferRequest
from fastgshare.shared.arrays import DTYPES, to_array
from fastgshare.shared.errors import RequestRefused

FIELDS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def request_of(datatype: str, shape: list[int], contents: InferTensorContents) -> ModelInferRequest:
    tensor = ModelInferRequest.InferInputTensor(name="x", datatype=datatype, shape=shape, contents=contents)
    return ModelInferRequest(model_name="echo", inputs=[tensor])


def problem(request: ModelInferRequest) -> str:
    with pytest.raises(RequestRefused) as info:
        codec.decode(request)
    return info.value.body.message


@pytest.mark.parametrize(("datatype", "field"), FIELDS.items())
def test_typed_fields_of_every_datatype(datatype: str, field: str) -> None:
    values = [b"a", b""] if datatype == "BYTES" else [1, 0]
    contents = InferTensorContents()
    getattr(contents, field).extend(values)
    (tensor,) = codec.decode(request_of(datatype, [2], contents)).inputs
    assert to_array(tensor).tolist() == values


@given(st.lists(st.integers(-(1 << 31), (1 << 31) - 1), max_size=20))
def test_numbers_are_never_wrapped(values: list[int]) -> None:
    request = request_of("INT8", [len(values)], InferTensorContents(int_contents=values))
    if all(-128 <= value < 128 for value in values):
        (tensor,) = codec.decode(request).inputs
        np.testing.assert_array_equal(to_array(tensor), np.array(values, DTYPES["INT8"]))
    else:
        assert "does not fit INT8" in problem(request)


def test_what_is_wrong_is_said() -> None:
    ones = InferTensorContents(int_contents=[1, 1])
    assert problem(request_of("INT32", [3], ones)) == "input 'x': shape [3] has 3 values, int_contents has 2"
    assert "expected fp32_contents" in problem(request_of("FP32", [2], ones))
    assert "use raw_input_contents" in problem(request_of("FP16", [2], ones))
    assert "datatype is 'FP8'" in problem(request_of("FP8", [2], ones))
    assert "has shape [-2]" in problem(request_of("INT32", [-2], ones))
    both = request_of("INT32", [2], ones)
    both.raw_input_contents.append(b"12345678")
    assert "has both" in problem(both)
    both.raw_input_contents.append(b"")
    assert "has 2 entries for 1 inputs" in problem(both)
    late = request_of("INT32", [2], ones)
    late.parameters["timeout"].int64_param = -1
    with pytest.raises(RequestRefused):
        codec.timeout_us(late)
