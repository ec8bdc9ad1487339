"""The `mps` device: replicas in processes of their own, each with a ceiling on its share of the device's threads.

A ceiling and never a reservation: chunks tell how large a replica's share is and not where it lies, so what keeps
replicas apart in space is that tokens are given to no more than the device has. On one chunk of n that is 100/n
percent, rounded up.

Under driver 580 a fatal fault of one process still comes to all on the GPU, and their MPS server takes no new process
before every old one has left. So when one finds its context lost and the server is in a fault, all of them end, idle
ones too, and each replica starts another at its next run.

With `compute="cpu"` the processes compute on cores, chunk after chunk on the next one, and everything else is as on a
GPU: for machines without one.
"""

import logging
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fastgshare.node_manager.devices.cpu import cpu_kind, memory_limit_mib
from fastgshare.node_manager.devices.faults import DeviceUnavailable
from fastgshare.node_manager.devices.kinds import kind_of
from fastgshare.node_manager.devices.mps.control import ControlSilent, open_control
from fastgshare.node_manager.devices.mps.gpu import KIND, open_gpu
from fastgshare.node_manager.devices.mps.memory import ProcessMemory
from fastgshare.node_manager.devices.mps.process import Limits
from fastgshare.node_manager.devices.mps.session import MpsSession
from fastgshare.node_manager.devices.mps.starting import Ground, Starter
from fastgshare.node_manager.devices.ports import DeviceState, Lane, StoredModel
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import ModelOnDevice
from fastgshare.shared.service import rss_mib
from fastgshare.shared.units import US_PER_S

CUDA, CPU = "cuda", "cpu"
CONTEXT_MIB = 500
LOOK_EVERY_US = 5 * US_PER_S
_HOST = "fastgshare.node_manager.replica_host"
OPENERS: dict[str, dict[str, str]] = {
    CUDA: {
        "torch": f"{_HOST}.torch_model:open_on_gpu",
        "torch_export": f"{_HOST}.torch_model:open_on_gpu",
        "onnx": f"{_HOST}.onnx_model:open_on_gpu",
    },
    CPU: {
        "torch": f"{_HOST}.torch_model:open_on_cores",
        "torch_export": f"{_HOST}.torch_model:open_on_cores",
        "onnx": f"{_HOST}.onnx_model:open_on_cores",
    },
}

logger = logging.getLogger(__name__)


class MpsDevice:
    """Made by `open_mps`. Methods may be called from any thread."""

    def __init__(self, ground: Ground, memory_mib: int) -> None:
        self.kind = ground.kind
        self.chunks = ground.chunks
        self.sms = ground.gpu.sms if ground.gpu is not None else ground.chunks
        self.memory_mib = memory_mib
        self._ground = ground
        self._lock = threading.Lock()
        self._sessions: list[MpsSession] = []
        self._deaths_before = 0
        self._problem = ""
        self._looked_us = -LOOK_EVERY_US

    def open_session(self, model: StoredModel, lane: Lane) -> MpsSession:
        """Start the replica's process and load there. Raises ModelFault, MemoryRefused, DeviceLost."""
        starter = Starter(self._ground, model, lane)
        session = MpsSession(starter, lane.chunks, self._forget, self._leave_faulted_server)
        with self._lock:
            self._sessions.append(session)
        return session

    def state(self) -> DeviceState:
        """Healthy while the daemon answers and no MPS server is in a fault, which is asked every few seconds.

        The memory is that of all processes; weights stand in the table with what all copies of them take.
        """
        with self._lock:
            sessions = tuple(self._sessions)
            deaths = self._deaths_before + sum(session.deaths for session in sessions)
        problem = self._health()
        gauges = {
            "mps_processes": float(sum(session.pid is not None for session in sessions)),
            "mps_process_deaths": float(deaths),
            "mps_context_mib": float(self._ground.memory.context_mib),
        }
        return DeviceState(not problem, problem, self._used_mib(sessions), _table(sessions), gauges)

    def close(self) -> None:
        """End what is left, then the daemon if it is ours. Idempotent."""
        with self._lock:
            left = tuple(self._sessions)
        for session in left:
            session.close()
        self._ground.spawner.shutdown()
        self._ground.control.close()

    def _forget(self, session: MpsSession) -> None:
        with self._lock:
            self._sessions.remove(session)
            self._deaths_before += session.deaths

    def _leave_faulted_server(self) -> None:
        """A process found its context lost: end the others if the fault is theirs too."""
        try:
            if not self._ground.control.is_in_fault():
                return
        except ControlSilent as error:
            logger.warning("whether the MPS server is in a fault cannot be told: %s", error)
            return
        with self._lock:
            sessions = tuple(self._sessions)
        for session in sessions:
            session.step_aside()

    def _health(self) -> str:
        now_us = monotonic_us()
        with self._lock:
            if now_us - self._looked_us < LOOK_EVERY_US:
                return self._problem
            self._looked_us = now_us
        problem = self._ground.control.problem()
        with self._lock:
            self._problem = problem
        return problem

    def _used_mib(self, sessions: tuple[MpsSession, ...]) -> float:
        if self._ground.gpu is None:
            return sum(rss_mib(pid) for session in sessions if (pid := session.pid) is not None)
        told = self._ground.gpu.memory_by_pid()
        alive = ((pid, session.footprint) for session in sessions if (pid := session.pid) is not None)
        return sum(told.get(pid, taken.weights_mib + taken.own_mib) for pid, taken in alive)


def open_mps(
    index: int,
    data_dir: Path,
    *,
    compute: str = CUDA,
    chunks: int = 0,
    context_mib: int = CONTEXT_MIB,
    openers: Mapping[str, str] | None = None,
    limits: Limits | None = None,
) -> MpsDevice:
    """The `index`th GPU under MPS, or this process's cores; the daemon's files lie under `data_dir`.

    `chunks` 0 means as many as a device that partitions SMs, or cores, would have. Raises DeviceUnavailable.
    """
    name = f"{KIND}-{index}"
    if compute not in OPENERS:
        raise DeviceUnavailable(device=name, reason=f"mps_compute is {compute}, expected {' or '.join(OPENERS)}")
    gpu = open_gpu(index) if compute == CUDA else None
    cores = tuple(sorted(os.sched_getaffinity(0))) if gpu is None else ()
    memory_mib = gpu.memory_mib if gpu is not None else memory_limit_mib()
    control = open_control(name, data_dir / KIND / str(index), gpu.uuid if gpu is not None else "")
    ground = Ground(
        kind=kind_of(KIND, gpu.name if gpu is not None else cpu_kind()),
        control=control,
        memory=ProcessMemory(memory_mib, context_mib),
        openers=OPENERS[compute] if openers is None else openers,
        limits=limits or Limits(),
        chunks=chunks or (gpu.chunks if gpu is not None else len(cores)),
        gpu=gpu,
        cores=cores,
        spawner=ThreadPoolExecutor(max_workers=1, thread_name_prefix=name),
    )
    return MpsDevice(ground, memory_mib)


def _table(sessions: tuple[MpsSession, ...]) -> tuple[ModelOnDevice, ...]:
    by_digest: dict[Digest, list[float]] = {}
    for session in sessions:
        by_digest.setdefault(session.model.digest, []).append(session.footprint.weights_mib)
    return tuple(
        ModelOnDevice(digest=digest, weights_mib=sum(copies), replicas=len(copies))
        for digest, copies in by_digest.items()
    )
