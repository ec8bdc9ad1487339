"""Tensors to arrays and back: every datatype, every shape, wherever the bytes lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastgshare.shared.arrays import DTYPES, Array, array_bytes, datatype_of, to_array, to_tensor
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import SlotInvalid
from fastgshare.shared.messages import InferRequest, SlotRef, Tensor
from fastgshare.shared.slots import SlotPool, host_id
from fastgshare.shared.tensors import ELEMENT_BYTES

shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
numbers = st.sampled_from(sorted(DTYPES)).flatmap(lambda name: hnp.arrays(DTYPES[name], shapes))


def over_the_wire(tensor: Tensor) -> Tensor:
    return decode(InferRequest, encode(InferRequest(1, (tensor,)))).inputs[0]


def bytes_array(elements: list[object], shape: tuple[int, ...]) -> Array:
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array.reshape(shape)


@given(array=numbers)
def test_arrays_of_numbers_come_back_bit_by_bit(array: Array) -> None:
    tensor = to_tensor("x", array)
    assert tensor.size_bytes == array.size * ELEMENT_BYTES[tensor.datatype]
    back = to_array(over_the_wire(tensor))
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


@given(elements=st.lists(st.binary(max_size=20), max_size=12))
def test_arrays_of_bytes_come_back_element_by_element(elements: list[bytes]) -> None:
    array = bytes_array(list(elements), (len(elements), 1))
    tensor = to_tensor("x", array)
    assert tensor.datatype == "BYTES"
    back = to_array(over_the_wire(tensor))
    assert back.shape == array.shape
    assert back.reshape(-1).tolist() == elements


@pytest.mark.parametrize("name", sorted(DTYPES))
def test_every_datatype_has_its_size_and_its_name(name: str) -> None:
    assert DTYPES[name].itemsize == ELEMENT_BYTES[name]
    assert datatype_of(np.zeros(1, DTYPES[name])) == name


def test_layout_and_byte_order_do_not_matter() -> None:
    array = np.arange(6, dtype="<i4").reshape(2, 3)
    assert bytes(array_bytes(array.T)) == bytes(array_bytes(np.ascontiguousarray(array.T)))
    assert bytes(array_bytes(array[:, ::2])) == bytes(array_bytes(array[:, ::2].copy()))
    assert bytes(array_bytes(array.astype(">i4"))) == array.tobytes()
    assert datatype_of(array.astype(">i4")) == "INT32"


def test_text_and_other_elements_travel_as_bytes() -> None:
    mixed = bytes_array([b"raw", "Grüße", bytearray(b"array"), memoryview(b"view"), 7], (5,))
    assert to_array(to_tensor("x", mixed)).tolist() == [b"raw", "Grüße".encode(), b"array", b"view", b"7"]
    assert to_array(to_tensor("x", np.array(["é", "b"]))).tolist() == ["é".encode(), b"b"]
    assert to_array(to_tensor("x", np.array([b"x", b"yz"]))).tolist() == [b"x", b"yz"]


@pytest.mark.parametrize("dtype", ["complex64", "datetime64[s]", "longdouble"])
def test_what_has_no_datatype_is_refused_by_name(dtype: str) -> None:
    with pytest.raises(ValueError, match="no tensor datatype for numpy"):
        datatype_of(np.zeros(1, dtype))


@pytest.mark.parametrize(
    ("tensor", "named"),
    [
        (Tensor("x", "FP32", (3,), memoryview(bytes(8))), "reshape"),
        (Tensor("x", "FP32", (2,), memoryview(bytes(7))), "buffer size"),
        (Tensor("x", "BF16", (1,), memoryview(bytes(2))), "'x' has datatype BF16"),
        (Tensor("x", "FP8", (1,), memoryview(b"x")), "'x' has datatype FP8"),
        (Tensor("x", "BYTES", (2,), memoryview(b"\x01\x00\x00\x00a")), r"'x' of shape \[2\] needs 2 elements, got 1"),
        (Tensor("x", "BYTES", (1,), memoryview(b"\x05\x00\x00\x00a")), "cut off"),
    ],
)
def test_bytes_that_do_not_fit_are_refused(tensor: Tensor, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        to_array(tensor)


def test_a_tensor_in_a_slot_is_copied_out_of_it() -> None:
    pool = SlotPool(host_id())
    slot = pool.take(64)
    assert slot is not None
    slot.write(8, np.array([1.5, 2.5], np.float32).tobytes())
    tensor = Tensor("x", "FP32", (2,), slot=SlotRef(host_id(), slot.name, 8, 8))
    array = to_array(tensor)
    slot.write(8, bytes(8))
    assert array.tolist() == [1.5, 2.5]
    pool.abandon(slot)
    with pytest.raises(SlotInvalid):
        to_array(tensor)
