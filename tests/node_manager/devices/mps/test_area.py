"""Shared memory between a device and a process: nothing overlaps, and nothing is read where there is nothing."""

import os
from collections.abc import Iterator

import numpy as np
import pytest

from fastgshare.node_manager.devices.mps import area as area_module
from fastgshare.node_manager.devices.mps.area import Area, AreaUnusable, Placed, make_area
from fastgshare.node_manager.devices.mps.messages import Finished, Run
from fastgshare.node_manager.devices.ports import ModelInfo, Ran
from fastgshare.node_manager.replica_host.serve import _answer
from fastgshare.shared.arrays import Array
from fastgshare.shared.units import BYTES_PER_MIB

ROWS, COLUMNS = 64, 1024


@pytest.fixture
def area() -> Iterator[Area]:
    area = make_area()
    yield area
    area.close()


class Passing:
    """Gives its input back, part of it first, without a copy."""

    info = ModelInfo(inputs=(), outputs=(), metadata={})
    weights_mib = 0.0

    def allocated_mib(self) -> float:
        return 0.0

    def run(self, feed: dict[str, Array]) -> Ran:
        return Ran({"rest": feed["x"][1:], "all": feed["x"]}, 1)

    def is_lost(self) -> bool:
        return False

    def close(self) -> None: ...


def test_outputs_that_are_views_of_inputs_are_not_written_over_them(area: Area) -> None:
    x = np.arange(ROWS * COLUMNS, dtype=np.float32).reshape(ROWS, COLUMNS)
    answer = _answer(Run(1, area.put({"x": x})), area, Passing())
    assert isinstance(answer, Finished)
    outputs = area.copy(answer.outputs)
    np.testing.assert_array_equal(outputs["rest"], x[1:])
    np.testing.assert_array_equal(outputs["all"], x)


def test_several_tensors_of_several_types_and_text_come_back(area: Area) -> None:
    text = np.array([b"short", b"", b"x" * 100_000], dtype=object)
    arrays: dict[str, Array] = {
        "numbers": np.arange(100_003, dtype=np.int8),
        "text": text,
        "halves": np.ones((3, 5), np.float16),
        "none": np.zeros((0, 4), np.int64),
    }
    for seen in (area.copy(area.put(arrays)), area.view(area.put(arrays))):
        for name, array in arrays.items():
            np.testing.assert_array_equal(seen[name], array)
            assert seen[name].dtype == array.dtype


@pytest.mark.parametrize(
    ("offset_bytes", "size_bytes"), [(-8, 8), (0, -8), (0, 1 << 62), (1 << 62, 8), (3 * BYTES_PER_MIB, 8)]
)
def test_what_is_said_to_lie_outside_is_not_read(area: Area, offset_bytes: int, size_bytes: int) -> None:
    os.ftruncate(area.fd, 2 * BYTES_PER_MIB)
    placed = Placed("y", "FP32", (2,), in_area=True, offset_bytes=offset_bytes, size_bytes=size_bytes)
    with pytest.raises(AreaUnusable, match="'y' is said to lie where there is no shared memory"):
        area.copy([placed])


def test_bytes_that_do_not_make_the_tensor_are_told(area: Area) -> None:
    for placed in (Placed("y", "FP32", (3,), memoryview(b"12345678")), Placed("y", "FP31", (2,), memoryview(b""))):
        with pytest.raises(AreaUnusable):
            area.copy([placed])


def test_a_batch_too_large_is_refused_with_the_limit(area: Area, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(area_module, "MAX_AREA_BYTES", BYTES_PER_MIB)
    with pytest.raises(AreaUnusable, match="may take 1 MiB"):
        area.put({"x": np.zeros(BYTES_PER_MIB + 1, np.uint8)})
