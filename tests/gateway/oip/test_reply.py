"""Answers say what the reply holds, in JSON or behind it, and binary tensors are not copied."""

import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.gateway.oip import DecodedRequest, decode_json_request, encode_json_reply, encode_reply
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused
from fastgshare.shared.messages import INFER_VERSION, InferReply, InferRequest, Tensor
from fastgshare.shared.tensors import pack_bytes

FLOATS = Tensor("y", "FP32", (2, 1), memoryview(struct.pack("<2f", 0.5, 2)))
TEXT = Tensor("label", "BYTES", (1,), memoryview(pack_bytes(["naïve".encode()])))
BLOB = Tensor("blob", "BYTES", (1,), memoryview(pack_bytes([b"\xff"])))
BRAIN = Tensor("b", "BF16", (1,), memoryview(b"\0\0"))
ASKED = DecodedRequest(InferRequest(INFER_VERSION, ()))


def reply(*outputs: Tensor) -> InferReply:
    return InferReply(INFER_VERSION, outputs)


def test_a_json_answer_names_the_model_and_echoes_the_id() -> None:
    content = encode_json_reply(reply(FLOATS, TEXT), "f", "3", "seven")
    assert msgspec.json.decode(content) == {
        "model_name": "f",
        "model_version": "3",
        "id": "seven",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [2, 1], "data": [0.5, 2.0]},
            {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["naïve"]},
        ],
    }


def test_an_answer_without_an_id_has_none() -> None:
    assert "id" not in msgspec.json.decode(encode_json_reply(reply(FLOATS), "f", "3"))


def test_an_empty_output_still_has_data() -> None:
    empty = Tensor("y", "FP32", (0,), memoryview(b""))
    assert msgspec.json.decode(encode_json_reply(reply(empty)))["outputs"][0]["data"] == []


def test_binary_outputs_follow_the_json_as_the_views_they_came_as() -> None:
    asked = DecodedRequest(ASKED.request, binary_by_default=True, binary={"label": False})
    encoded = encode_reply(reply(FLOATS, TEXT, BLOB), "f", "3", asked)
    head, *rest = encoded.chunks
    assert encoded.json_bytes == len(head)
    assert encoded.size_bytes == len(head) + FLOATS.size_bytes + BLOB.size_bytes
    assert rest[0] is FLOATS.data
    assert rest[1] is BLOB.data
    outputs = msgspec.json.decode(bytes(head))["outputs"]
    assert [output.get("parameters") for output in outputs] == [
        {"binary_data_size": 8},
        None,
        {"binary_data_size": 5},
    ]
    assert outputs[1]["data"] == ["naïve"]


def test_without_binary_outputs_there_is_no_header_length() -> None:
    assert encode_reply(reply(FLOATS), "f", "3", ASKED).json_bytes is None


@pytest.mark.parametrize("output", [BLOB, BRAIN], ids=["blob", "bf16"])
def test_what_json_cannot_say_is_refused_with_the_way_out(output: Tensor) -> None:
    with pytest.raises(RequestRefused, match="binary") as caught:
        encode_reply(reply(output), "f", "3", ASKED)
    assert caught.value.body.code is ErrorCode.INVALID


def test_an_output_that_contradicts_itself_is_an_internal_error() -> None:
    broken = Tensor("y", "FP32", (3,), FLOATS.data)
    with pytest.raises(RequestRefused, match="do not fit") as caught:
        encode_reply(reply(broken), "f", "3", ASKED)
    assert caught.value.body.code is ErrorCode.INTERNAL


def test_a_refusal_in_json_has_its_code_and_when_to_come_back() -> None:
    refusal = InferReply(INFER_VERSION, error=ErrorBody(ErrorCode.OVERLOADED, "full", 120))
    expected = {"error": "full", "code": "overloaded", "retry_after_ms": 120}
    assert msgspec.json.decode(encode_json_reply(refusal)) == expected
    unsayable = msgspec.json.decode(encode_json_reply(reply(BLOB)))
    assert unsayable["code"] == "invalid"


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_an_answer_is_a_request_again(values: list[float]) -> None:
    data = struct.pack(f"<{len(values)}f", *values)
    tensor = Tensor("y", "FP32", (len(values),), memoryview(data))
    outputs = msgspec.json.decode(encode_json_reply(reply(tensor)))["outputs"]
    again = decode_json_request(msgspec.json.encode({"inputs": outputs}))
    assert bytes(again.inputs[0].data) == data
