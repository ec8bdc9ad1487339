"""The codec: large tensors as views, and errors that name what was wrong where."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import PayloadInvalid
from fastgshare.shared.messages import FunctionSpec, InferRequest, MeasureRequest, NodeStatus, Profile, Tensor
from tests.shared.golden_payloads import EXAMPLES
from tests.shared.golden_payloads.functions import FUNCTION

PLAIN = msgspec.msgpack.decode(encode(FUNCTION))


def refused(kind: type[msgspec.Struct], payload: Any) -> PayloadInvalid:
    with pytest.raises(PayloadInvalid) as caught:
        decode(kind, payload)
    return caught.value


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"slo_ms": "soon"}, "$.slo_ms"),
        ({"model": {"digest": "d"}}, "size_bytes"),
        ({"slice": {"sm_partition": "half"}}, "$.slice.sm_partition"),
        ({"labels": {"team": 7}}, "$.labels[...]"),
        ({"autoscale": [1, 2]}, "$.autoscale"),
    ],
)
def test_the_field_that_does_not_fit_is_named(change: dict[str, object], named: str) -> None:
    error = refused(FunctionSpec, msgspec.msgpack.encode(PLAIN | change))
    assert error.fields["expected"] == "FunctionSpec"
    assert named in str(error.fields["reason"])


def test_a_field_that_is_missing_is_named() -> None:
    error = refused(MeasureRequest, msgspec.msgpack.encode({}))
    assert "`batch`" in str(error.fields["reason"])


def test_a_position_that_does_not_fit_is_named_where_fields_go_by_position() -> None:
    error = refused(InferRequest, msgspec.msgpack.encode([1, [["x", "FP32", ["wide"], b""]]]))
    assert "$[1][0][2][0]" in str(error.fields["reason"])


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\xa1\xff",
        b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        b"\x81\xa5batch\xcf" + b"\xff" * 8 + b"\x00",
        b"\x81\xa3any" + b"\x91" * 100_000 + b"\xc0",  # too deep, where nobody looks
    ],
)
@pytest.mark.parametrize("kind", [InferRequest, MeasureRequest, Profile])
def test_what_is_no_message_is_refused_like_any_wrong_one(kind: type[msgspec.Struct], payload: bytes) -> None:
    refused(kind, payload)


@given(payload=st.binary(max_size=200), kind=st.sampled_from([InferRequest, FunctionSpec, NodeStatus]))
def test_any_bytes_are_a_message_or_refused(payload: bytes, kind: type[msgspec.Struct]) -> None:
    with suppress(PayloadInvalid):
        assert isinstance(decode(kind, payload), kind)


@given(name=st.sampled_from(sorted(EXAMPLES)), data=st.data())
def test_a_payload_with_any_byte_wrong_is_a_message_or_refused(name: str, data: st.DataObject) -> None:
    payload = bytearray(encode(EXAMPLES[name]))
    position = data.draw(st.integers(0, len(payload) - 1))
    payload[position] = data.draw(st.integers(0, 255))
    with suppress(PayloadInvalid):
        decode(type(EXAMPLES[name]), bytes(payload))


def test_a_tensor_is_a_view_into_the_payload_not_a_copy() -> None:
    payload = bytearray(encode(InferRequest(1, (Tensor("x", "UINT8", (4,), memoryview(b"\x01\x02\x03\x04")),))))
    data = decode(InferRequest, payload).inputs[0].data
    payload[payload.index(b"\x01\x02\x03\x04")] = 9
    assert bytes(data) == b"\x09\x02\x03\x04"
