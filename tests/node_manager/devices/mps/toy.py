"""A model format for tests: JSON that says what a process should do. Kept light: each test's process imports it."""

import hashlib
import json
import os
import signal
import time
from pathlib import Path

import numpy as np

from fastgshare.node_manager.devices.faults import InputUnusable, ModelFault
from fastgshare.node_manager.devices.mps.messages import Load
from fastgshare.node_manager.devices.ports import ModelInfo, Ran, StoredModel
from fastgshare.node_manager.replica_host.opening import OpenModel
from fastgshare.shared.arrays import Array
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import Digest

OPENERS = {"toy": "tests.node_manager.devices.mps.toy:open_toy"}
# What a batch that starts with one of these does instead of computing.
DIE, HANG, LOSE_DEVICE, EXIT, BLAME, CUT_AREA, GARBAGE = (-float(number) for number in range(101, 108))


def toy(path: Path, scale: float = 2.0, **says: object) -> StoredModel:
    """`y = scale * x`; `width` 0 means any, `die_at_load`, `hang_at_load`, `slow_s` and `diary` (a file) do as said."""
    path.write_text(json.dumps({"scale": scale, **says}))
    return StoredModel(Digest(hashlib.sha256(path.read_bytes()).hexdigest()), path, "toy")


class Toy:
    """Writes down in its `diary` what becomes of it."""

    weights_mib = 1.5

    def __init__(self, load: Load) -> None:
        try:
            self._says = json.loads(Path(load.path).read_text())
        except ValueError as error:
            raise ModelFault(reason=f"{load.path} is no toy: {error}") from error
        if self._says.get("hang_at_load"):
            time.sleep(3600)
        if self._says.get("die_at_load"):
            print("this toy does not load", flush=True)
            os._exit(3)
        width = int(self._says.get("width", 0)) or -1
        spec = (-1, width)
        self.info = ModelInfo(
            inputs=(TensorSpec("x", "FP32", spec),), outputs=(TensorSpec("y", "FP32", spec),), metadata=seen(load)
        )
        self._is_lost = False
        self._note(f"open at {os.environ['CUDA_MPS_ACTIVE_THREAD_PERCENTAGE']} %")

    def allocated_mib(self) -> float:
        return 0.0

    def run(self, feed: dict[str, Array]) -> Ran:
        x = feed["x"]
        first = float(x.reshape(-1)[0]) if x.size else 0.0
        self._misbehave(first)
        if "width" in self._says and x.shape[1] != self._says["width"]:
            raise ModelFault(reason=f"x has {x.shape[1]} columns, expected {self._says['width']}")
        self._note("run")
        time.sleep(self._says.get("slow_s", 0.0))
        y = np.multiply(x, np.float32(self._says["scale"]), dtype=np.float32)
        self._note("ran")
        return Ran({"y": y}, 7)

    def is_lost(self) -> bool:
        return self._is_lost

    def close(self) -> None:
        self._note("close")

    def _misbehave(self, first: float) -> None:
        if first == DIE:
            print("the last words", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        elif first == HANG:
            self._note("hang")
            time.sleep(3600)
        elif first == EXIT:
            os._exit(4)
        elif first == LOSE_DEVICE:
            self._is_lost = True
            raise ModelFault(reason="CUDA error: an illegal memory access was encountered")
        elif first == BLAME:
            raise InputUnusable(reason="this input is nonsense")
        elif first == CUT_AREA:
            os.ftruncate(_fd_of("memfd:fastgshare-replica"), 0)
        elif first == GARBAGE:
            os.write(_fd_of("socket:"), b"\x03\x00\x00\x00\xc1\xc1\xc1")

    def _note(self, what: str) -> None:
        if "diary" in self._says:
            with Path(self._says["diary"]).open("a") as diary:
                diary.write(f"{os.getpid()} {what}\n")


def _fd_of(name: str) -> int:
    return next(fd for fd in map(int, os.listdir("/proc/self/fd")) if name in _target(fd))


def _target(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""  # the one that listed them


def open_toy(load: Load) -> OpenModel:
    """The opener."""
    return Toy(load)


def seen(load: Load) -> dict[str, str]:
    """The process as it finds itself: its environment, cores, pid and standing with the kernel."""
    return {
        **{f"env:{name}": value for name, value in os.environ.items()},
        "cores": ",".join(str(core) for core in sorted(os.sched_getaffinity(0))),
        "pid": str(os.getpid()),
        "oom_score_adj": Path("/proc/self/oom_score_adj").read_text().strip(),
        "max_batch": str(load.max_batch),
    }
