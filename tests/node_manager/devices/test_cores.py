"""Nodes of one host take different cores while there are enough."""

from pathlib import Path

from fastgshare.node_manager.devices.cores import take_cores


def test_who_wants_all_gets_all_and_takes_none(tmp_path: Path) -> None:
    for wanted in (0, 2, 3):
        assert take_cores([4, 7], wanted, tmp_path).cores == [4, 7]
    assert not any(tmp_path.iterdir())


def test_two_take_different_ones_and_a_third_shares(tmp_path: Path) -> None:
    first = take_cores([0, 1, 2], 1, tmp_path)
    second = take_cores([0, 1, 2], 2, tmp_path)
    third = take_cores([0, 1, 2], 2, tmp_path)
    assert (first.cores, second.cores, third.cores) == ([0], [1, 2], [0, 1])


def test_what_was_let_go_is_taken_again(tmp_path: Path) -> None:
    first = take_cores([0, 1], 1, tmp_path)
    second = take_cores([0, 1], 1, tmp_path)
    first.let_go()
    assert take_cores([0, 1], 1, tmp_path).cores == [0]
    second.let_go()


def test_without_shared_memory_it_is_the_first(tmp_path: Path) -> None:
    assert take_cores([0, 1], 1, tmp_path / "missing").cores == [0]
