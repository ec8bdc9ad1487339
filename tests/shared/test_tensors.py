"""Tensors without numpy: the BYTES encoding, and refusals that say what was expected."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import HostId
from fastgshare.shared.messages import SlotRef, Tensor
from fastgshare.shared.tensors import ELEMENT_BYTES, pack_bytes, problem_with_inputs, unpack_bytes

IDS = TensorSpec("ids", "INT32", (-1, 4))
MASK = TensorSpec("mask", "BOOL", (-1, 4))
FIXED = TensorSpec("scale", "FP32", (2,))
SCALAR = TensorSpec("threshold", "FP64", ())


def tensor(name: str, datatype: str, shape: tuple[int, ...], size_bytes: int) -> Tensor:
    return Tensor(name, datatype, shape, memoryview(bytes(size_bytes)))


def ids(rows: int) -> Tensor:
    return tensor("ids", "INT32", (rows, 4), rows * 16)


def mask(rows: int) -> Tensor:
    return tensor("mask", "BOOL", (rows, 4), rows * 4)


@given(elements=st.lists(st.binary(max_size=50)))
def test_elements_unpack_to_what_was_packed(elements: list[bytes]) -> None:
    packed = pack_bytes(elements)
    assert unpack_bytes(packed) == unpack_bytes(memoryview(packed)) == elements
    assert len(packed) == sum(4 + len(element) for element in elements)


@given(elements=st.lists(st.binary(min_size=1, max_size=20), min_size=1), cut=st.integers(1, 4))
def test_what_is_cut_off_is_refused(elements: list[bytes], cut: int) -> None:
    packed = pack_bytes(elements)
    if len(elements[-1]) + 4 == cut:  # a whole element less is a shorter list, not a damaged one
        return
    with pytest.raises(ValueError, match="is cut off"):
        unpack_bytes(packed[:-cut])


@given(data=st.binary(max_size=100))
def test_any_bytes_unpack_to_what_packs_to_them_or_are_refused(data: bytes) -> None:
    try:
        elements = unpack_bytes(data)
    except ValueError:
        return
    assert pack_bytes(elements) == data


def test_a_length_beyond_the_data_takes_no_memory() -> None:
    with pytest.raises(ValueError, match="4294967295 bytes is cut off"):
        unpack_bytes(struct.pack("<I", 2**32 - 1) + b"x")


@pytest.mark.parametrize("max_batch", [0, 2])
def test_inputs_that_fit_have_no_problem(max_batch: int) -> None:
    assert problem_with_inputs((ids(2),), (IDS,), max_batch) is None
    assert problem_with_inputs((mask(2), ids(2)), (IDS, MASK), max_batch) is None
    inputs = (tensor("scale", "FP32", (2,), 8), tensor("threshold", "FP64", (), 8))
    assert problem_with_inputs(inputs, (FIXED, SCALAR), max_batch) is None
    assert problem_with_inputs((), (), max_batch) is None


@pytest.mark.parametrize("datatype", ELEMENT_BYTES)
def test_every_datatype_needs_its_bytes(datatype: str) -> None:
    spec = TensorSpec("x", datatype, (3,))
    size = 3 * ELEMENT_BYTES[datatype]
    assert problem_with_inputs((tensor("x", datatype, (3,), size),), (spec,), 0) is None
    problem = problem_with_inputs((tensor("x", datatype, (3,), size + 1),), (spec,), 0)
    assert problem == f"input 'x' of shape [3] needs {size} bytes, got {size + 1}"


def test_a_tensor_in_a_slot_is_judged_by_the_size_of_its_range() -> None:
    slot = SlotRef(HostId("h"), "fastgshare-1-000000000000", 0, 16)
    assert problem_with_inputs((Tensor("ids", "INT32", (1, 4), slot=slot),), (IDS,), 8) is None
    problem = problem_with_inputs((Tensor("ids", "INT32", (2, 4), slot=slot),), (IDS,), 8)
    assert problem == "input 'ids' of shape [2, 4] needs 32 bytes, got 16"


@pytest.mark.parametrize(
    ("inputs", "expected", "message"),
    [
        ((), (IDS,), "expected inputs ['ids'], missing ['ids'], unknown []"),
        ((mask(1),), (IDS,), "expected inputs ['ids'], missing ['ids'], unknown ['mask']"),
        ((ids(1), mask(1)), (IDS,), "expected inputs ['ids'], missing [], unknown ['mask']"),
        ((ids(1), ids(1)), (IDS,), "an input is given twice"),
        (
            (tensor("ids", "INT64", (1, 4), 32),),
            (IDS,),
            "input 'ids' has datatype INT64, expected INT32",
        ),
        (
            (tensor("ids", "INT32", (1, 5), 20),),
            (IDS,),
            "input 'ids' has shape [1, 5], expected [-1, 4] (-1: any length)",
        ),
        (
            (tensor("ids", "INT32", (4,), 16),),
            (IDS,),
            "input 'ids' has shape [4], expected [-1, 4] (-1: any length)",
        ),
        (
            (tensor("ids", "INT32", (-1, 4), 16),),
            (IDS,),
            "input 'ids' has shape [-1, 4], expected [-1, 4] (-1: any length)",
        ),
        ((ids(3),), (IDS,), "input 'ids' has 3 rows, expected 1 to 2"),
        ((ids(0),), (IDS,), "input 'ids' has 0 rows, expected 1 to 2"),
        ((ids(1), mask(2)), (IDS, MASK), "inputs disagree about the batch size: ids 1, mask 2"),
        (
            (ids(1), tensor("mask", "BOOL", (), 1)),
            (IDS, MASK),
            "input 'mask' has shape [], expected [-1, 4] (-1: any length)",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_what_was_expected(
    inputs: tuple[Tensor, ...], expected: tuple[TensorSpec, ...], message: str
) -> None:
    assert problem_with_inputs(inputs, expected, max_batch=2) == message


def test_outputs_are_spoken_of_as_such() -> None:
    assert problem_with_inputs((ids(1), ids(1)), (IDS, MASK), 2, "output") == "an output is given twice"
    assert problem_with_inputs((ids(3),), (IDS,), 2, "output") == "output 'ids' has 3 rows, expected 1 to 2"
