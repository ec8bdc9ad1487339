"""The `cpu` device: real inference on cores; a chunk is a core.

A replica's thread is pinned to its cores with `sched_setaffinity`, and threads that a runtime makes there inherit it.
More compute threads than cores in the set ran 4 to 7 times slower, so a session gets exactly as many as its slice has
chunks. A core does nothing else while a replica holds its token, so that is the device time it is charged: reading
tensors and packing answers is done by the replica's own thread, on the same cores.
"""

import ctypes
import os
import platform
import threading
from collections.abc import Mapping
from pathlib import Path

from fastgshare.node_manager.core.memory import MemoryLedger
from fastgshare.node_manager.devices.faults import MemoryRefused, ModelFault
from fastgshare.node_manager.devices.kinds import kind_of
from fastgshare.node_manager.devices.ports import (
    DeviceState,
    Footprint,
    HostModel,
    HostSession,
    Lane,
    Ran,
    Runtime,
    StoredModel,
)
from fastgshare.node_manager.devices.store import ModelStore
from fastgshare.shared.arrays import Array
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.service import rss_mib
from fastgshare.shared.units import BYTES_PER_KIB, BYTES_PER_MIB

# What a worker's process has to be started with. glibc gives threads arenas of their own and never returns the top of
# any but the first; and libraries that count cores by themselves would make threads for all of them.
WORKER_ENV = {"MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}


class CpuDevice:
    """This process's cores, or the first `cores` of them; `runtimes` by format."""

    def __init__(self, runtimes: Mapping[str, Runtime], cores: int = 0) -> None:
        available = sorted(os.sched_getaffinity(0))
        self._cores = available[:cores] if cores > 0 else available
        self._runtimes = runtimes
        self._store: ModelStore[HostModel] = ModelStore()
        self._lock = threading.Lock()
        self.kind = cpu_kind()
        self.chunks = self.sms = len(self._cores)
        self.memory_mib = memory_limit_mib()
        self._ledger = MemoryLedger(self.memory_mib)

    def open_session(self, model: StoredModel, lane: Lane) -> "CpuSession":
        """Pin the calling thread to the lane's cores and load there. Raises ModelFault, MemoryRefused."""
        runtime = self._runtimes.get(model.format)
        if runtime is None:
            known = ", ".join(self._runtimes)
            raise ModelFault(reason=f"its format is {model.format}, the cpu device runs {known}")
        self._reserve(model, lane)
        try:
            self.enter(lane.chunks)
            return self._open(runtime, model, lane)
        except BaseException:
            self._free(lane)
            raise

    def state(self) -> DeviceState:
        """Always healthy; the memory is the process's."""
        return DeviceState(True, "", rss_mib(), self._store.table(), {})

    def close(self) -> None:
        """Nothing is left to let go of."""

    def enter(self, chunks: tuple[int, ...]) -> None:
        """Pin the calling thread, and the threads it makes from now on, to the chunks' cores."""
        os.sched_setaffinity(0, {self._cores[chunk] for chunk in chunks})

    def let_go(self, model: StoredModel, lane: Lane) -> None:
        """A session was closed; the last one of a model returns its memory to the system."""
        self._store.release(model.digest)
        self._free(lane)
        _trim()

    def _reserve(self, model: StoredModel, lane: Lane) -> None:
        size_mib = model.path.stat().st_size / BYTES_PER_MIB
        with self._lock:
            refusal = self._ledger.reserve(lane.replica, model.digest, size_mib, lane.memory_mib)
        if refusal is not None:
            raise MemoryRefused(reason=refusal.reason, passes=refusal.passes)

    def _free(self, lane: Lane) -> None:
        with self._lock:
            self._ledger.release(lane.replica)

    def _open(self, runtime: Runtime, model: StoredModel, lane: Lane) -> "CpuSession":
        host_model, was_loaded = self._store.hold(model.digest, lambda: runtime.load(model))
        try:
            before_mib = rss_mib()
            session = host_model.session(len(lane.chunks))
            own_mib = max(rss_mib() - before_mib, 0.0)
        except BaseException:
            self._store.release(model.digest)
            raise
        if not was_loaded:
            _trim()  # what reading the file took beside the weights
        footprint = Footprint(host_model.weights_mib, own_mib, was_loaded)
        return CpuSession(self, model, lane, host_model, session, footprint)


class CpuSession:
    """A replica's model on its cores."""

    is_on_cores = True

    def __init__(
        self,
        device: CpuDevice,
        model: StoredModel,
        lane: Lane,
        host_model: HostModel,
        session: HostSession,
        footprint: Footprint,
    ) -> None:
        self.info = host_model.info
        self.footprint = footprint
        self.is_portable = session.is_portable
        self._device = device
        self._model = model
        self._lane = lane
        self._host_model = host_model
        self._session: HostSession | None = session

    def run(self, feed: dict[str, Array]) -> Ran:
        """One batch. Raises ModelFault."""
        session = self._session
        if session is None:
            raise ModelFault(reason="its session was closed")
        started_us = monotonic_us()
        outputs = session.run(feed)
        return Ran(outputs, monotonic_us() - started_us)

    def move(self, chunks: tuple[int, ...]) -> None:
        """Pin the calling thread to other cores, with a thread for each. Raises ModelFault, and stays where it is."""
        before = self._session
        if before is None:
            raise ModelFault(reason="its session was closed")
        cores = os.sched_getaffinity(0)  # not all of its chunks, where a session keeps its caller on one of them
        self._device.enter(chunks)
        try:
            self._session = self._host_model.session(len(chunks))
        except BaseException:
            os.sched_setaffinity(0, cores)
            raise
        self.is_portable = self._session.is_portable
        before.close()

    def close(self) -> None:
        """Let go of the model."""
        if self._session is not None:
            self._session.close()
            self._session = None
            self._device.let_go(self._model, self._lane)


def cpu_kind() -> str:
    """What this machine's CPU is called, for short."""
    name = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2]
                break
    return kind_of("cpu", name)


def memory_limit_mib() -> int:
    """Memory this process may use: the machine's, or its control group's limit where that is lower."""
    total_mib = 1024
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        total_mib = int(meminfo.read_text().split(maxsplit=2)[1]) * BYTES_PER_KIB // BYTES_PER_MIB
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.exists() else "max"
    return min(total_mib, int(text) // BYTES_PER_MIB) if text.isdigit() else total_mib


def _trim() -> None:
    """Give freed memory back to the system: glibc keeps it otherwise, and nobody else could have it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none and need none
    if trim is not None:
        trim(0)
