"""A replica's share changes with another process: one before the other where memory allows, and no run is lost."""

import threading
from pathlib import Path

import pytest

from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.mps.device import MpsDevice
from tests.node_manager.devices.contract import Outcome
from tests.node_manager.devices.mps.conftest import OpenDevice
from tests.node_manager.devices.mps.lives import Diary, check, lane
from tests.node_manager.devices.mps.toy import toy
from tests.node_manager.processes import alive


@pytest.fixture
def device(open_device: OpenDevice) -> MpsDevice:
    return open_device(chunks=4)


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    return Diary(tmp_path / "diary")


def test_the_next_process_is_there_before_the_last_one_ends(device: MpsDevice, tmp_path: Path, diary: Diary) -> None:
    session = device.open_session(toy(tmp_path / "m.json", diary=str(diary.path)), lane())
    before = session.pid
    session.move((0, 1, 2))
    check(session)
    assert before is not None
    assert not alive(before)
    assert diary.entries == [
        (before, "open at 25 %"),
        (session.pid, "open at 75 %"),
        (before, "close"),
        (session.pid, "run"),
        (session.pid, "ran"),
    ]


def test_where_memory_has_no_room_for_two_the_last_one_ends_first(
    device: MpsDevice, tmp_path: Path, diary: Diary
) -> None:
    all_mib = device.memory_mib - 10  # less its context
    session = device.open_session(toy(tmp_path / "m.json", diary=str(diary.path)), lane(memory_mib=all_mib))
    session.move((0, 1))
    check(session)
    assert diary.events == ["open at 25 %", "close", "open at 50 %", "run", "ran"]


def test_no_run_is_lost_while_a_replica_moves(device: MpsDevice, tmp_path: Path, diary: Diary) -> None:
    session = device.open_session(toy(tmp_path / "m.json", diary=str(diary.path)), lane())
    stop = threading.Event()

    def run_on() -> None:
        while not stop.is_set():
            check(session)

    running = Outcome(run_on)
    for chunks in ((0, 1), (0, 1, 2), (3,)):
        session.move(chunks)
    stop.set()
    running.finish()
    assert [event for event in diary.events if event.startswith("open")] == [
        f"open at {percent} %" for percent in (25, 50, 75, 25)
    ]
    assert device.state().gauges["mps_process_deaths"] == 0


def test_a_move_that_fails_changes_nothing(device: MpsDevice, tmp_path: Path, diary: Diary) -> None:
    model = toy(tmp_path / "m.json", diary=str(diary.path))
    session = device.open_session(model, lane())
    before = session.pid
    model.path.write_text("no longer a toy")
    with pytest.raises(ModelFault, match="the model file is no toy"):
        session.move((0, 1))
    assert session.pid == before
    check(session)


def test_what_a_move_needed_is_free_after_it(device: MpsDevice, tmp_path: Path) -> None:
    third_mib = device.memory_mib // 3 - 20
    model = toy(tmp_path / "m.json")
    session = device.open_session(model, lane("a", memory_mib=third_mib))
    session.move((0, 1))
    device.open_session(model, lane("b", memory_mib=third_mib))
    device.open_session(model, lane("c", memory_mib=third_mib))


def test_a_closed_session_moves_no_more(device: MpsDevice, tmp_path: Path) -> None:
    session = device.open_session(toy(tmp_path / "m.json"), lane())
    session.close()
    with pytest.raises(ModelFault, match="closed"):
        session.move((1,))
