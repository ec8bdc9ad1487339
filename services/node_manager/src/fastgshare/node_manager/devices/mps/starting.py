"""How the processes of one replica are started: their environment, their share, and what they turn out to take."""

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from fastgshare.node_manager.devices.faults import DeviceLost, ModelFault
from fastgshare.node_manager.devices.mps.control import ControlSilent, MpsControl
from fastgshare.node_manager.devices.mps.gpu import Gpu
from fastgshare.node_manager.devices.mps.memory import Claim, ProcessMemory
from fastgshare.node_manager.devices.mps.messages import Load, Loaded
from fastgshare.node_manager.devices.mps.process import Limits, ReplicaProcess, start_process
from fastgshare.node_manager.devices.ports import Footprint, Lane, ModelInfo, StoredModel
from fastgshare.node_manager.ipc.environment import one_thread, passed_on
from fastgshare.shared.service import rss_mib
from fastgshare.shared.units import BYTES_PER_MIB


class Started(NamedTuple):
    """A process with its model."""

    process: ReplicaProcess
    info: ModelInfo
    footprint: Footprint


@dataclass(frozen=True, slots=True)
class Ground:
    """What all processes of a device stand on. Without a `gpu` they compute on `cores`, going round them.

    `openers` by format: the `module:function` that makes the model in the process.
    """

    kind: str
    control: MpsControl
    memory: ProcessMemory
    openers: Mapping[str, str]
    limits: Limits
    chunks: int
    gpu: Gpu | None
    cores: tuple[int, ...]
    spawner: ThreadPoolExecutor


class Starter:
    """Starts processes for one replica, on behalf of its session. Thread-safe."""

    def __init__(self, ground: Ground, model: StoredModel, lane: Lane) -> None:
        opener = ground.openers.get(model.format)
        if opener is None:
            known = ", ".join(ground.openers)
            raise ModelFault(reason=f"its format is {model.format}, the mps device runs {known}")
        self.model = model
        self.lane = lane
        self._ground = ground
        self._opener = opener

    def claim(self) -> Claim:
        """Memory for one more process. Raises MemoryRefused."""
        return self._ground.memory.claim(self.lane, self.model.path.stat().st_size / BYTES_PER_MIB)

    def release(self, claim: Claim) -> None:
        """Nothing is left of the process."""
        self._ground.memory.release(claim)

    def is_same(self, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
        """Whether a process for one set of chunks does for the other: a share of threads has no place."""
        return self._percent(before) == self._percent(after) and self._cores(before) == self._cores(after)

    def start(self, claim: Claim, chunks: tuple[int, ...]) -> Started:
        """A process with the model in it. Raises ModelFault, DeviceLost."""
        ground = self._ground
        try:
            ground.control.ensure_running()
        except ControlSilent as error:
            raise DeviceLost(device=ground.kind, reason=f"the MPS control daemon: {error}") from error
        env = self._environment(claim, chunks)
        name = f"replica {self.lane.replica}"
        # The kernel ends a child with the thread that made it, and the spawner's lives as long as the device.
        spawned = ground.spawner.submit(start_process, name, env, ground.limits, ground.control.terminate)
        process = spawned.result()
        loaded = process.load(
            Load(
                opener=self._opener,
                digest=self.model.digest,
                path=str(self.model.path.absolute()),
                format=self.model.format,
                factory=self.model.factory,
                cores=self._cores(chunks),
                max_batch=self.lane.max_batch,
            )
        )
        return Started(process, loaded.info, self._footprint(process, loaded))

    def _percent(self, chunks: tuple[int, ...]) -> int:
        return min(math.ceil(100 * len(chunks) / self._ground.chunks), 100)

    def _cores(self, chunks: tuple[int, ...]) -> tuple[int, ...]:
        cores = self._ground.cores
        return tuple(sorted({cores[chunk % len(cores)] for chunk in chunks})) if cores else ()

    def _environment(self, claim: Claim, chunks: tuple[int, ...]) -> dict[str, str]:
        gpu = self._ground.gpu
        limit_mib = claim.memory_mib + claim.context_mib
        return {
            **passed_on(),
            **one_thread(),
            **self._ground.control.environment,
            "CUDA_VISIBLE_DEVICES": gpu.uuid if gpu is not None else "",
            "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(self._percent(chunks)),
            "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": f"0={limit_mib}M",
        }

    def _footprint(self, process: ReplicaProcess, loaded: Loaded) -> Footprint:
        """Measured on the process as it is now; where the driver tells nothing of it, what it says itself."""
        gpu = self._ground.gpu
        if gpu is None:
            taken_mib = rss_mib(process.pid)
        else:
            told_mib = gpu.memory_by_pid().get(process.pid)
            if told_mib is not None:
                self._ground.memory.learn_context(told_mib - loaded.allocated_mib)
            taken_mib = told_mib or loaded.allocated_mib + self._ground.memory.context_mib
        return Footprint(loaded.weights_mib, max(taken_mib - loaded.weights_mib, 0.0), was_loaded=False)
