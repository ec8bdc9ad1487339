"""A replica's process: what it is given, what it answers, and every way in which it can be lost."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastgshare.node_manager.devices.faults import InputUnusable, MemoryRefused, ModelFault
from fastgshare.node_manager.devices.mps.device import CPU, OPENERS, MpsDevice
from fastgshare.node_manager.devices.mps.process import Limits
from fastgshare.node_manager.devices.mps.session import MAX_DEATHS, MpsSession
from fastgshare.node_manager.devices.ports import StoredModel
from fastgshare.shared.objects import digest_of
from tests.node_manager.devices.contract import Outcome
from tests.node_manager.devices.mps import toy as toys
from tests.node_manager.devices.mps.conftest import ROOT, OpenDevice
from tests.node_manager.devices.mps.fake_control import FakeControl
from tests.node_manager.devices.mps.lives import Diary, batch_that, check, lane
from tests.node_manager.devices.mps.toy import toy
from tests.node_manager.models import scaled
from tests.node_manager.processes import alive, until_dead, until_true

SHORT_S = 0.3


def opened(device: MpsDevice, tmp_path: Path, name: str = "a", **says: object) -> MpsSession:
    return device.open_session(toy(tmp_path / f"{name}.json", **says), lane(name))  # type: ignore[arg-type]


def pid_of(session: MpsSession) -> int:
    assert session.pid is not None
    return session.pid


def test_large_tensors_go_there_and_back_whatever_their_order(device: MpsDevice, tmp_path: Path) -> None:
    session = opened(device, tmp_path)
    for shape in ((1, 4), (64, 4096), (1, 4), (512, 4096), (64, 4096), (0, 4)):
        check(session, shape=shape)


def test_an_answer_stays_as_it_was_when_the_next_batch_runs(device: MpsDevice, tmp_path: Path) -> None:
    session = opened(device, tmp_path)
    first = session.run({"x": np.full((64, 4096), 1, np.float32)}).outputs["y"]
    session.run({"x": np.full((64, 4096), 3, np.float32)})
    assert (first == 2).all()


def test_a_process_sees_its_share_and_nothing_that_the_worker_was_trusted_with(
    open_device: OpenDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTGSHARE_NATS_URL", "nats://worker:secret@bus")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    device = open_device(chunks=16)
    session = device.open_session(toy(tmp_path / "m.json"), lane("a", (3, 4, 5), memory_mib=90))
    found = session.info.metadata
    seen = {name.removeprefix("env:"): value for name, value in found.items() if name.startswith("env:")}
    assert "secret" not in "".join(seen.values())
    assert seen["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == "19"  # 18.75, rounded up
    assert seen["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "0=100M"  # with its context
    assert seen["CUDA_MPS_PIPE_DIRECTORY"].endswith("/mps/0/pipe")
    assert seen["CUDA_VISIBLE_DEVICES"] == ""  # it computes on cores
    assert seen["OMP_NUM_THREADS"] == "1"
    assert found["oom_score_adj"] == "800"
    cores = sorted(os.sched_getaffinity(0))
    assert found["cores"] == ",".join(str(core) for core in sorted({cores[chunk % len(cores)] for chunk in (3, 4, 5)}))
    assert found["max_batch"] == "4"
    assert found["pid"] == str(session.pid)


def test_one_killed_in_a_run_costs_that_run_and_no_neighbour(device: MpsDevice, tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary")
    neighbour = opened(device, tmp_path, "neighbour", scale=3.0)
    session = opened(device, tmp_path, slow_s=3600, diary=str(diary.path))
    victim, bystander = pid_of(session), pid_of(neighbour)
    running = Outcome(lambda: check(session))
    until_true(lambda: "run" in diary.events)
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(ModelFault, match="lost in a run: SIGKILL"):
        running.finish()
    check(neighbour, 3.0)
    assert neighbour.pid == bystander
    assert device.state().gauges["mps_process_deaths"] == 1


def test_the_next_run_after_a_death_has_a_new_process(device: MpsDevice, tmp_path: Path) -> None:
    session = opened(device, tmp_path)
    before = session.pid
    with pytest.raises(ModelFault, match="SIGKILL; its last words: the last words"):
        session.run(batch_that(toys.DIE))
    assert device.state().gauges["mps_processes"] == 0
    check(session)
    assert session.pid not in (None, before)
    with pytest.raises(ModelFault, match="exit status 4"):
        session.run(batch_that(toys.EXIT))
    check(session)


def test_one_that_dies_between_two_runs_costs_none(device: MpsDevice, tmp_path: Path) -> None:
    session = opened(device, tmp_path)
    before = pid_of(session)
    check(session)
    os.kill(before, signal.SIGKILL)
    until_dead(before)
    check(session)
    assert session.pid not in (None, before)
    assert device.state().gauges["mps_process_deaths"] == 1


def test_a_model_whose_process_dies_again_and_again_stays_failed(device: MpsDevice, tmp_path: Path) -> None:
    session = opened(device, tmp_path)
    for _ in range(MAX_DEATHS - 1):
        with pytest.raises(ModelFault, match="exit status 4"):
            session.run(batch_that(toys.EXIT))
    check(session)  # a finished run begins the count anew
    for _ in range(MAX_DEATHS):
        with pytest.raises(ModelFault, match="exit status 4"):
            session.run(batch_that(toys.EXIT))
    for _ in range(2):
        with pytest.raises(ModelFault, match=f"died {MAX_DEATHS} times"):
            check(session)
    assert device.state().gauges["mps_processes"] == 0


def test_a_run_that_hangs_is_ended_once_its_work_is_off_the_gpu(
    open_device: OpenDevice, tmp_path: Path, control: FakeControl
) -> None:
    device = open_device(limits=Limits(load_s=30.0, run_s=SHORT_S, drain_s=20.0))
    session = opened(device, tmp_path)
    pid = pid_of(session)
    with pytest.raises(ModelFault, match=r"a batch took more than 0\.3 s"):
        session.run(batch_that(toys.HANG))
    assert not alive(pid)
    assert control.told()[-1] == f"terminate_client 4711 {pid}"


def test_a_load_that_hangs_is_ended(open_device: OpenDevice, tmp_path: Path) -> None:
    device = open_device(limits=Limits(load_s=SHORT_S, run_s=30.0, drain_s=20.0))
    with pytest.raises(ModelFault, match=r"loading the model took more than 0\.3 s"):
        opened(device, tmp_path, hang_at_load=True)
    assert device.state().models == ()


def test_a_process_that_ends_while_it_loads_says_how(device: MpsDevice, tmp_path: Path) -> None:
    with pytest.raises(ModelFault, match="while it loaded: exit status 3; its last words: this toy does not load"):
        opened(device, tmp_path, die_at_load=True)
    assert device.state().models == ()


def test_a_process_that_lost_its_device_says_why_and_makes_room_for_another(device: MpsDevice, tmp_path: Path) -> None:
    session = opened(device, tmp_path)
    before = session.pid
    with pytest.raises(ModelFault, match="cannot compute any more: CUDA error: an illegal memory access"):
        session.run(batch_that(toys.LOSE_DEVICE))
    check(session)
    assert session.pid != before


def test_a_batch_that_fails_costs_itself_alone(device: MpsDevice, tmp_path: Path) -> None:
    session = opened(device, tmp_path, width=3)
    before = session.pid
    with pytest.raises(InputUnusable, match="nonsense"):
        session.run(batch_that(toys.BLAME))
    with pytest.raises(ModelFault, match="has 4 columns, expected 3"):
        session.run({"x": np.zeros((1, 4), np.float32)})
    with pytest.raises(ModelFault, match="KeyError"):
        session.run({"z": np.zeros((1, 4), np.float32)})
    check(session)
    assert session.pid == before


def test_a_process_that_speaks_nonsense_is_ended(device: MpsDevice, tmp_path: Path) -> None:
    session = opened(device, tmp_path)
    with pytest.raises(ModelFault, match="is no message"):
        session.run(batch_that(toys.GARBAGE))
    check(session)


def test_a_process_that_cuts_off_the_shared_memory_hurts_itself(device: MpsDevice, tmp_path: Path) -> None:
    session = opened(device, tmp_path)
    with pytest.raises(ModelFault, match="lost in a run"):
        session.run({"x": np.full((64, 4096), toys.CUT_AREA, np.float32)})
    check(session, shape=(64, 4096))


def test_what_runs_a_format_may_be_missing_on_a_node(open_device: OpenDevice, tmp_path: Path) -> None:
    device = open_device(openers={"toy": "no_such_package.models:open_it"})
    with pytest.raises(ModelFault, match="format toy is not installed on this node: No module named 'no_such_package'"):
        opened(device, tmp_path)


def test_memory_is_refused_with_the_numbers_context_included(open_device: OpenDevice, tmp_path: Path) -> None:
    device = open_device(context_mib=100)
    half_mib = device.memory_mib // 2
    model = toy(tmp_path / "m.json")
    first = device.open_session(model, lane("a", memory_mib=half_mib))
    free_mib = device.memory_mib - half_mib - 100
    with pytest.raises(MemoryRefused, match=f"needs {half_mib + 1} MiB and {free_mib} of {device.memory_mib}"):
        device.open_session(model, lane("b", memory_mib=half_mib + 1))
    with pytest.raises(MemoryRefused, match=rf"beside its {free_mib} MiB .* needs 100 MiB and 0 of"):
        device.open_session(model, lane("b", memory_mib=free_mib))
    first.close()
    device.open_session(model, lane("b", memory_mib=half_mib + 1))


def test_closing_lets_the_run_that_is_under_way_finish(device: MpsDevice, tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary")
    session = opened(device, tmp_path, slow_s=0.3, diary=str(diary.path))
    pid = pid_of(session)
    running = Outcome(lambda: check(session))
    until_true(lambda: "run" in diary.events)
    session.close()
    running.finish()
    assert diary.events[1:] == ["run", "ran", "close"]
    assert not alive(pid)


def test_nothing_is_left_after_the_device_is_closed(
    open_device: OpenDevice, tmp_path: Path, control: FakeControl
) -> None:
    device = open_device()
    opened(device, tmp_path, "first").close()
    files = len(os.listdir("/proc/self/fd"))
    pids = [pid_of(opened(device, tmp_path, name)) for name in ("a", "b")]
    assert all(alive(pid) for pid in pids)
    device.close()
    assert not any(alive(pid) for pid in pids)
    assert len(os.listdir("/proc/self/fd")) == files
    assert control.told()[-1] == "quit"
    device.close()


def test_a_process_dies_with_its_worker(control: FakeControl, tmp_path: Path) -> None:
    model = toy(tmp_path / "m.json")
    source = f"""
import sys
from pathlib import Path
from fastgshare.node_manager.devices.mps.device import open_mps
from tests.node_manager.devices.mps.lives import lane
from tests.node_manager.devices.mps.toy import OPENERS, toy
device = open_mps(0, Path({str(tmp_path)!r}), compute="cpu", openers=OPENERS)
session = device.open_session(toy(Path({str(model.path)!r})), lane())
print(session.pid, flush=True)
sys.stdin.read()
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    worker = subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    )
    with worker:
        assert worker.stdout is not None
        pid = int(worker.stdout.readline())
        assert alive(pid)
        worker.kill()
    until_dead(pid)


def test_an_onnx_model_runs_in_a_process(open_device: OpenDevice, tmp_path: Path) -> None:
    path = scaled(tmp_path / "m.onnx", 3.0)
    device = open_device(openers=OPENERS[CPU])
    session = device.open_session(StoredModel(digest_of(path), path, "onnx"), lane("a", memory_mib=512))
    x = np.arange(16, dtype=np.float32).reshape(2, 8)
    np.testing.assert_array_equal(session.run({"x": x}).outputs["y"], 3 * x)
    [held] = device.state().models
    assert held.replicas == 1
    assert device.state().used_mib > 10


def test_a_fault_of_the_mps_server_is_the_devices(open_device: OpenDevice, control: FakeControl) -> None:
    control.says("fault")
    state = open_device().state()
    assert not state.healthy
    assert "MPS server is in a fault" in state.reason


@pytest.mark.parametrize("is_everybodys", [True, False])
def test_a_fault_that_came_to_all_ends_all_processes_and_no_replica(
    device: MpsDevice, tmp_path: Path, control: FakeControl, is_everybodys: bool
) -> None:
    """A server in a fault takes no new process while an old one, though idle, is still there."""
    idle, session = opened(device, tmp_path, "idle"), opened(device, tmp_path)
    before = pid_of(idle)
    if is_everybodys:
        control.says("fault")
    with pytest.raises(ModelFault, match="cannot compute any more"):
        session.run(batch_that(toys.LOSE_DEVICE))
    assert alive(before) is not is_everybodys
    check(session)
    check(idle)
    assert device.state().gauges["mps_process_deaths"] == 1
