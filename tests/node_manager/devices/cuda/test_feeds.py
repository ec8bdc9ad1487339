"""A batch that does not fit the signature is refused before anything of it is on the device."""

import numpy as np
import pytest

from fastgshare.node_manager.devices.cuda.feeds import rows_of
from fastgshare.node_manager.devices.faults import InputUnusable
from fastgshare.node_manager.devices.ports import ModelInfo
from fastgshare.shared.arrays import Array
from fastgshare.shared.handler import TensorSpec

INFO = ModelInfo(
    inputs=(TensorSpec("x", "FP32", (-1, 2)), TensorSpec("n", "INT64", (-1,))),
    outputs=(TensorSpec("y", "FP32", (-1, 2)),),
    metadata={},
)


def feed(wrong: dict[str, Array]) -> dict[str, Array]:
    right: dict[str, Array] = {"x": np.zeros((3, 2), np.float32), "n": np.zeros(3, np.int64)}
    return right | wrong


def test_rows_are_counted() -> None:
    assert rows_of(feed({}), INFO) == 3


def test_a_model_without_a_batch_axis_has_one() -> None:
    info = ModelInfo(inputs=(TensorSpec("x", "FP32", (5,)),), outputs=(), metadata={})
    assert rows_of({"x": np.zeros(5, np.float32)}, info) == 1


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"x": np.zeros((3, 3), np.float32)}, r"'x' has shape \[3, 3\], expected \[-1, 2\]"),
        ({"x": np.zeros((3, 2), np.float64)}, "'x' is FP64, expected FP32"),
        ({"x": np.zeros((3, 2), np.complex64)}, "'x' is numpy complex64, expected FP32"),
        ({"n": np.zeros(4, np.int64)}, r"\[3, 4\] rows"),
    ],
)
def test_what_does_not_fit_says_what_was_expected(wrong: dict[str, Array], reason: str) -> None:
    with pytest.raises(InputUnusable, match=reason):
        rows_of(feed(wrong), INFO)


def test_an_input_that_is_missing_is_named() -> None:
    with pytest.raises(InputUnusable, match="'n' is missing"):
        rows_of({"x": np.zeros((1, 2), np.float32)}, INFO)
