"""JSON values and tensor bytes say the same, and what a datatype cannot hold is refused by name."""

import math
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastgshare.gateway.oip.numbers import ValuesInvalid, pack_json, unpack_json
from fastgshare.shared.arrays import DTYPES
from fastgshare.shared.tensors import pack_bytes

each_numeric = pytest.mark.parametrize("datatype", sorted(DTYPES))


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def arrays(datatype: str) -> st.SearchStrategy[np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    kind = DTYPES[datatype]
    elements = {"allow_nan": False, "allow_infinity": False} if kind.kind == "f" else {}
    return hnp.arrays(kind, hnp.array_shapes(max_dims=4, min_side=0), elements=elements)


@each_numeric
@settings(max_examples=30)
@given(st.data())
def test_nested_and_flat_values_pack_to_what_numpy_has(datatype: str, data: st.DataObject) -> None:
    array = data.draw(arrays(datatype))
    assert pack_json(datatype, array.shape, raw(array.reshape(-1).tolist())) == array.tobytes()
    if array.size:
        assert pack_json(datatype, array.shape, raw(array.tolist())) == array.tobytes()


@each_numeric
@settings(max_examples=30)
@given(st.data())
def test_values_survive_the_way_through_json(datatype: str, data: st.DataObject) -> None:
    array = data.draw(arrays(datatype))
    values = unpack_json(datatype, array.shape, memoryview(array.tobytes()))
    assert pack_json(datatype, array.shape, raw(values)) == array.tobytes()


@given(st.lists(st.text()))
def test_text_survives_the_way_through_json(texts: list[str]) -> None:
    packed = pack_json("BYTES", (len(texts),), raw(texts))
    assert packed == pack_bytes(text.encode() for text in texts)
    assert unpack_json("BYTES", (len(texts),), memoryview(packed)) == texts


@pytest.mark.parametrize(
    ("datatype", "shape", "value", "said"),
    [
        ("INT8", (1,), [128], "does not fit INT8"),
        ("UINT64", (1,), [-1], "does not fit UINT64"),
        ("UINT64", (1,), [2**64], "does not fit UINT64"),
        ("INT64", (1,), [2**300], "does not fit INT64"),
        ("FP16", (1,), [1e6], "does not fit FP16"),
        ("FP32", (1,), [1e39], "does not fit FP32"),
        ("INT32", (1,), [1.5], "Expected `int`"),
        ("BOOL", (1,), [1], "Expected `bool`"),
        ("FP32", (2,), [1.0, "two"], r"Expected `float`, got `str` - at `\$\[1\]`"),
        ("FP32", (1,), None, "Expected `array`"),
        ("FP32", (), 5.0, "Expected `array`"),
        ("BYTES", (1,), [5], "Expected `str`"),
        ("FP32", (3,), [1.0, 2.0], r"shape \[3\] has 3 values, data has 2"),
        ("FP32", (2, 2), [[1.0, 2.0], [3.0]], "not nested as shape"),
        ("FP32", (2, 2), [[1.0, 2.0]], "2 items along axis 0"),
        ("FP32", (4,), [[1.0, 2.0], [3.0, 4.0]], "nested 1 deep, got 2"),
        ("FP32", (1,), [[[[[[[[[[[[[[[[[1.0]]]]]]]]]]]]]]]]], "nested deeper than 16"),
        ("BF16", (1,), [1.0], "BF16 does not travel in JSON: use binary data"),
        ("FP31", (1,), [1.0], "datatype is 'FP31', expected one of BOOL, UINT8"),
    ],
)
def test_values_that_do_not_fit_are_refused(datatype: str, shape: tuple[int, ...], value: object, said: str) -> None:
    with pytest.raises(ValuesInvalid, match=said):
        pack_json(datatype, shape, raw(value))


def test_integers_are_taken_for_floats() -> None:
    assert pack_json("FP32", (2,), raw([1, 2.5])) == struct.pack("<2f", 1, 2.5)


def test_a_scalar_has_one_value() -> None:
    assert pack_json("FP64", (), raw([7])) == struct.pack("<d", 7)


def test_bytes_that_are_no_text_do_not_go_into_json() -> None:
    with pytest.raises(ValuesInvalid, match="ask for it with binary_data"):
        unpack_json("BYTES", (1,), memoryview(pack_bytes([b"\xff\xfe"])))


@pytest.mark.parametrize(("datatype", "data"), [("FP32", b"\0" * 7), ("BYTES", pack_bytes([b"one"]))])
def test_bytes_that_do_not_fit_their_shape_are_a_fault(datatype: str, data: bytes) -> None:
    with pytest.raises(ValueError, match="do not fit") as caught:
        unpack_json(datatype, (2,), memoryview(data))
    assert not isinstance(caught.value, ValuesInvalid)


def test_numbers_that_json_cannot_say_become_null() -> None:
    values = unpack_json("FP32", (2,), memoryview(struct.pack("<2f", math.nan, math.inf)))
    assert msgspec.json.encode(values) == b"[null,null]"
