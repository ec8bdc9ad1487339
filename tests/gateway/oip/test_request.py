"""Every request body is either decoded or refused with what was expected; binary inputs are not copied."""

import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.gateway.oip import decode_json_request, decode_request
from fastgshare.shared.errors import ErrorCode, RequestRefused
from fastgshare.shared.tensors import pack_bytes

X = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]}


def body(**fields: object) -> bytes:
    return msgspec.json.encode({"inputs": [X], **fields})


def refused(content: bytes, json_bytes: int | None = None) -> str:
    with pytest.raises(RequestRefused) as caught:
        decode_request(content, json_bytes)
    assert caught.value.body.code is ErrorCode.INVALID
    return caught.value.body.message


def with_binary(document: dict[str, object], *binary: bytes) -> tuple[bytes, int]:
    head = msgspec.json.encode(document)
    return b"".join([head, *binary]), len(head)


def test_json_inputs_become_tensors() -> None:
    request = decode_json_request(body(outputs=[{"name": "y"}, {"name": "z"}]))
    (tensor,) = request.inputs
    assert (tensor.name, tensor.datatype, tensor.shape) == ("x", "FP32", (2,))
    assert bytes(tensor.data) == struct.pack("<2f", 1, 2)
    assert request.outputs == ("y", "z")


def test_id_timeout_and_wishes_are_read() -> None:
    decoded = decode_request(
        body(
            id="seven",
            parameters={"timeout": 250_000, "binary_data_output": True, "priority": 3, "mine": [1]},
            outputs=[{"name": "y", "parameters": {"binary_data": False}}, {"name": "z"}],
        ),
        None,
    )
    assert decoded.request_id == "seven"
    assert decoded.timeout_us == 250_000
    assert decoded.binary_by_default
    assert decoded.binary == {"y": False}


def test_binary_and_json_inputs_mix_and_binary_ones_are_views() -> None:
    first, third = struct.pack("<3q", 1, 2, 3), pack_bytes([b"\xff\0", b""])
    document: dict[str, object] = {
        "inputs": [
            {"name": "a", "datatype": "INT64", "shape": [3], "parameters": {"binary_data_size": len(first)}},
            {"name": "b", "datatype": "BOOL", "shape": [1], "data": [True]},
            {"name": "c", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(third)}},
        ]
    }
    content, json_bytes = with_binary(document, first, third)
    tensors = decode_request(content, json_bytes).request.inputs
    assert [bytes(tensor.data) for tensor in tensors] == [first, b"\1", third]
    assert tensors[0].data.obj is content
    assert tensors[2].data.obj is content


def test_an_empty_binary_input_is_an_input() -> None:
    tensor = {"name": "a", "datatype": "FP32", "shape": [0], "parameters": {"binary_data_size": 0}}
    content, json_bytes = with_binary({"inputs": [tensor]})
    assert decode_request(content, json_bytes).request.inputs[0].size_bytes == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not an inference request"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "missing required field `inputs`"),
        (b'{"inputs": [{}]}', r"missing required field `name`"),
        (b'{"inputs": 5}', r"at `$.inputs`"),
        (body(id=5), r"at `$.id`"),
        (body(parameters={"timeout": -1}), r"Expected `int` >= 0 - at `$.parameters.timeout`"),
        (body(parameters={"sequence_id": 9}), "keep no state"),
        (body(outputs=[{"name": "y", "parameters": {"classification": 3}}]), "not offered"),
        (body(inputs=[{**X, "shape": [-1]}]), r"Expected `int` >= 0 - at `$.inputs[0].shape[0]`"),
        (body(inputs=[{**X, "shape": [1] * 17}]), "length <= 16"),
        (body(inputs=[{**X, "shape": ["2"]}]), "Expected `int`, got `str`"),
        (body(inputs=[{**X, "data": [1, "2"]}]), "input 'x': data: Expected `float`, got `str`"),
        (body(inputs=[{"name": "x", "datatype": "FP32", "shape": [2]}]), "has neither of data and"),
        (body(inputs=[{**X, "parameters": {"binary_data_size": 8}}]), "has both of data and"),
        (body(inputs=[{**X, "parameters": {"shared_memory_region": "r"}}]), "shared-memory region"),
        (b'{"more":' + b"[" * 200_000, "recursion"),
        (b'{"inputs": [], "id": "\xff"}', "invalid"),
    ],
)
def test_malformed_requests_are_refused_with_what_was_expected(content: bytes, said: str) -> None:
    assert said in refused(content)


def test_sizes_that_do_not_add_up_are_refused() -> None:
    wanted = {"name": "a", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}
    content, json_bytes = with_binary({"inputs": [wanted]}, b"\0" * 8)
    assert "should have 8 binary bytes, 7 are left" in refused(content[:-1], json_bytes)
    assert "1 binary bytes are left over" in refused(content + b"\0", json_bytes)
    assert "the JSON should take" in refused(content, len(content) + 1)
    assert "not an inference request" in refused(content, 0)


def decoded_or_refused(content: bytes, json_bytes: int | None) -> None:
    try:
        decode_request(content, json_bytes)
    except RequestRefused as error:
        refusal = error.body
    else:
        return
    assert refusal.code is ErrorCode.INVALID


@given(st.binary(max_size=300), st.none() | st.integers(0, 400))
def test_any_bytes_are_decoded_or_refused(content: bytes, json_bytes: int | None) -> None:
    decoded_or_refused(content, json_bytes)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
LIKELY_INPUTS = st.fixed_dictionaries(
    {"name": st.text(max_size=3)},
    optional={
        "datatype": st.sampled_from(["FP32", "INT8", "BYTES", "BOOL", "BF16", "?"]) | JSON_VALUES,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | JSON_VALUES,
        "data": JSON_VALUES,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 9)}) | JSON_VALUES,
    },
)
LIKELY_REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(LIKELY_INPUTS | JSON_VALUES, max_size=3)},
    optional={"id": JSON_VALUES, "outputs": JSON_VALUES, "parameters": JSON_VALUES},
)


@given(LIKELY_REQUESTS | JSON_VALUES, st.binary(max_size=9), st.booleans())
def test_any_json_is_decoded_or_refused(document: object, rest: bytes, extended: bool) -> None:
    content = msgspec.json.encode(document)
    decoded_or_refused(content + rest, len(content) if extended else None)
