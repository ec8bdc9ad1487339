"""What is captured: the ladder of batch sizes, and which models have one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.node_manager.devices.ports import ModelInfo
from fastgshare.shared.arrays import Array
from fastgshare.shared.handler import TensorSpec

pytest.importorskip("cuda.bindings", reason="the device is called through cuda-bindings, which is missing here")

from fastgshare.node_manager.devices.cuda.graphs import capture_plan, ladder, prepare, rung_for
from fastgshare.node_manager.devices.cuda.ports import ANY_SHAPE


@pytest.mark.parametrize(
    ("max_batch", "rungs"),
    [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (8, (1, 2, 4, 8)), (9, (1, 2, 4, 8, 9)), (12, (1, 2, 4, 8, 12))],
)
def test_the_ladder_rises_by_powers_of_two_and_ends_at_the_largest_batch(max_batch: int, rungs: tuple[int]) -> None:
    assert ladder(max_batch) == rungs


@given(st.integers(1, 512), st.data())
def test_every_batch_has_a_rung_that_holds_it_and_wastes_less_than_half(max_batch: int, data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, max_batch))
    rung = rung_for(ladder(max_batch), rows)
    assert rung is not None
    assert rows <= rung < 2 * rows or rung == rows == 1


def test_a_batch_beyond_the_ladder_has_no_rung() -> None:
    assert rung_for((1, 2, 4), 5) is None


def info(shape_in: tuple[int, ...], shape_out: tuple[int, ...]) -> ModelInfo:
    return ModelInfo(
        inputs=(TensorSpec("x", "FP32", shape_in),), outputs=(TensorSpec("y", "FP32", shape_out),), metadata={}
    )


@pytest.mark.parametrize(
    ("shape_in", "shape_out", "can_capture", "plan"),
    [
        ((-1, 8), (-1, 4), True, (1, 2, 4)),
        ((-1, 8), (-1, 4), False, (ANY_SHAPE,)),
        ((3, 8), (4,), True, (1,)),
        ((-1, 3, -1), (-1, 4), True, (ANY_SHAPE,)),
        ((-1, 8), (-1, -1), True, (ANY_SHAPE,)),
        ((-1, 8), (4,), True, (ANY_SHAPE,)),
    ],
)
def test_what_has_fixed_shapes_but_for_rows_is_captured(
    shape_in: tuple[int, ...], shape_out: tuple[int, ...], can_capture: bool, plan: tuple[int, ...]
) -> None:
    assert capture_plan(info(shape_in, shape_out), 4, can_capture) == plan


class Noted:
    """A program that says when it is made and closed."""

    def __init__(self, rows: int, notes: list[str]) -> None:
        if rows == 1 and "fail" in notes:
            raise RuntimeError("no")
        self.rows = rows
        self._notes = notes
        notes.append(f"make {rows}")

    def feed(self, feed: dict[str, Array]) -> None: ...
    def launch(self) -> None: ...
    def fetch(self) -> None: ...

    def outputs(self, rows: int) -> dict[str, Array]:
        return {}

    def close(self) -> None:
        self._notes.append(f"close {self.rows}")


def test_the_largest_is_captured_first_and_a_batch_gets_the_next_larger() -> None:
    notes: list[str] = []
    programs = prepare((1, 2, 4), lambda rows: Noted(rows, notes))
    assert notes == ["make 4", "make 2", "make 1"]
    assert programs.for_rows(3) is programs.by_rung[4]
    assert programs.for_rows(5) is None
    programs.close()
    programs.close()
    assert sorted(notes[3:]) == ["close 1", "close 2", "close 4"]


def test_a_ladder_that_fails_half_way_leaves_nothing() -> None:
    notes = ["fail"]
    with pytest.raises(RuntimeError):
        prepare((1, 2, 4), lambda rows: Noted(rows, notes))
    assert notes == ["fail", "make 4", "make 2", "close 4", "close 2"]


def test_one_program_for_any_shape_takes_every_batch() -> None:
    programs = prepare((ANY_SHAPE,), lambda rows: Noted(rows, []))
    assert programs.for_rows(1) is programs.for_rows(500) is programs.by_rung[ANY_SHAPE]
