"""The MPS control daemon: started where none answers, taken over, asked within limits, told to quit if it is ours."""

from pathlib import Path

import pytest

from fastgshare.node_manager.devices.faults import DeviceUnavailable
from fastgshare.node_manager.devices.mps import control as control_module
from fastgshare.node_manager.devices.mps.control import MpsControl, open_control
from tests.node_manager.devices.mps.fake_control import FakeControl


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("c")


def opened(directory: Path) -> MpsControl:
    return open_control("mps-0", directory, "GPU-1")


def test_a_machine_without_the_programs_is_told_what_brings_them(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place))
    with pytest.raises(DeviceUnavailable, match="nvidia-cuda-mps-control is not on the PATH: install"):
        opened(place)


def test_it_is_started_for_its_gpu_in_directories_of_its_own_and_told_to_quit(
    control: FakeControl, place: Path
) -> None:
    daemon = opened(place)
    assert control.told() == ["get_server_list", "-d", "get_server_list"]
    environment = control.environments()[1]
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    assert environment["CUDA_MPS_PIPE_DIRECTORY"] == str(place / "pipe")
    assert environment["CUDA_MPS_LOG_DIRECTORY"] == str(place / "log")
    assert (place / "log").is_dir()
    daemon.close()
    assert control.told()[-1] == "quit"
    daemon.close()
    assert control.told().count("quit") == 1


def test_one_that_a_former_life_left_behind_is_taken_over(control: FakeControl, place: Path) -> None:
    opened(place)
    again = opened(place)
    assert control.told().count("-d") == 1
    again.close()
    assert control.told()[-1] == "quit"


def test_an_administrators_daemon_is_used_and_left_alone(
    control: FakeControl, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(place / "theirs"))
    with pytest.raises(DeviceUnavailable, match=r"no daemon answers at .*theirs"):
        opened(place)
    (place / "theirs").mkdir()
    (place / "theirs" / "running").touch()
    daemon = opened(place)
    assert daemon.environment == {"CUDA_MPS_PIPE_DIRECTORY": str(place / "theirs")}
    daemon.close()
    assert {"-d", "quit"}.isdisjoint(control.told())


def test_one_that_died_is_started_again(control: FakeControl, place: Path) -> None:
    daemon = opened(place)
    (place / "pipe" / "running").unlink()
    assert "Cannot find MPS control daemon" in daemon.problem()
    daemon.ensure_running()
    assert daemon.problem() == ""


def test_one_that_cannot_start_says_why(control: FakeControl, place: Path) -> None:
    control.says("broken")
    with pytest.raises(DeviceUnavailable, match="cannot create the pipes"):
        opened(place)


def test_one_that_hangs_is_not_waited_for(control: FakeControl, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = opened(place)
    monkeypatch.setattr(control_module, "CALL_LIMIT_S", 0.2)
    control.says("hang")
    assert "does not answer: no answer within 0.2 s" in daemon.problem()
    daemon.terminate(1)
    daemon.close()


def test_a_directory_too_deep_for_sockets_is_refused(control: FakeControl, place: Path) -> None:
    with pytest.raises(DeviceUnavailable, match="expected a path of at most 88 bytes"):
        opened(place / ("x" * 80))
