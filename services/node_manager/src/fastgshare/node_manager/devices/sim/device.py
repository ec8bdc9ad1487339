"""The `sim` device: batches occupy their chunks for as long as a curve says, and answer with zeros.

Everything but the computing is real: chunks, memory that is refused with the numbers, weights shared by content, time
that passes. How long a batch takes is settled when it starts, by what it has of the device at that moment; who comes or
goes meanwhile changes the next batch. Sessions may be called from any thread.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from fastgshare.node_manager.core.memory import MemoryLedger
from fastgshare.node_manager.core.speed import WHOLE_PERCENT, Chunks, Contention, emulated_us
from fastgshare.node_manager.devices.faults import DeviceLost, MemoryRefused, ModelFault
from fastgshare.node_manager.devices.ports import DeviceState, Footprint, Lane, Ran, Runtime, StoredModel
from fastgshare.node_manager.devices.sim.blanks import blank_outputs, rows_in
from fastgshare.node_manager.devices.sim.gpus import SimGpu
from fastgshare.node_manager.devices.sim.models import SimModel, SimModels
from fastgshare.node_manager.devices.sim.occupancy import Occupancy
from fastgshare.node_manager.devices.sim.pace import Pace, RealPace
from fastgshare.node_manager.devices.store import ModelStore
from fastgshare.shared.arrays import Array

CLOSED = "it was closed"


@dataclass(frozen=True, slots=True)
class _Batch:
    """A batch on the device: when it is done, and how long the device is busy with it."""

    handle: int
    ends_us: int
    device_us: int


class SimDevice:
    """An emulated `gpu`.

    `runtimes` read models of other formats than `sim`, `tables` is a directory with profiles of those, as JSON in
    files that begin with the model's digest. `pace` is the time it runs in, this machine's by default.
    """

    def __init__(
        self,
        gpu: SimGpu,
        runtimes: Mapping[str, Runtime] | None = None,
        tables: str = "",
        contention: Contention | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.kind = gpu.kind
        self.chunks = gpu.chunks
        self.sms = gpu.chunks * gpu.sms_per_chunk
        self.memory_mib = gpu.memory_mib
        self.pace = pace or RealPace()
        self._contention = contention or Contention()
        self._models = SimModels(gpu, runtimes or {}, tables)
        self._store: ModelStore[SimModel] = ModelStore()
        self._lock = threading.Lock()
        self._ledger = MemoryLedger(gpu.memory_mib)
        self._occupancy = Occupancy(gpu.chunks, self.pace.now_us())
        self._own_mib = 0.0
        self._gone = ""

    def open_session(self, model: StoredModel, lane: Lane) -> "SimSession":
        """Raises ModelFault, MemoryRefused, DeviceLost."""
        if self._gone:
            raise DeviceLost(device=self.kind, reason=self._gone)
        self.check_chunks(lane.chunks)
        loaded, was_loaded = self._store.hold(model.digest, lambda: self._load(model, lane))
        if was_loaded:
            try:
                self._reserve(loaded, model, lane)
            except BaseException:
                self._store.release(model.digest)
                raise
        footprint = Footprint(loaded.weights_mib, loaded.own_mib, was_loaded)
        return SimSession(self, model, lane, loaded, footprint)

    def state(self) -> DeviceState:
        """Emulated memory in use, and how busy the device was since the last look (see `Busyness`)."""
        with self._lock:
            busy = self._occupancy.look(self.pace.now_us())
            own_mib = self._own_mib
        models = self._store.table()
        gauges = {
            "sm_utilization": busy.utilization,
            "contention_stretch": busy.stretch,
            "running_batches": float(busy.running),
        }
        used_mib = own_mib + sum(model.weights_mib for model in models)
        return DeviceState(not self._gone, self._gone, used_mib, models, gauges)

    def close(self) -> None:
        """No session opens or runs from now on."""
        self._gone = self._gone or CLOSED

    def begin(self, model: SimModel, chunks: Chunks, rows: int) -> _Batch:
        """A batch takes its chunks. Raises DeviceLost."""
        if self._gone:
            raise DeviceLost(device=self.kind, reason=self._gone)
        with self._lock:
            model.batches += 1
            if model.device_lost_every and model.batches % model.device_lost_every == 0:
                self._gone = f"lost under batch {model.batches} of a model that says so"
                raise DeviceLost(device=self.kind, reason=self._gone)
            device_us = emulated_us(model.curve, self._contention, self._occupancy.portion_of(chunks), rows)
            alone_us = model.curve.batch_us(WHOLE_PERCENT * len(chunks) / self.chunks, rows)
            now_us = self.pace.now_us()
            handle = self._occupancy.begin(chunks, alone_us, device_us, now_us)
        return _Batch(handle, now_us + device_us, device_us)

    def end(self, batch: _Batch) -> None:
        """It is done, or failed."""
        with self._lock:
            self._occupancy.end(batch.handle, self.pace.now_us())

    def let_go(self, model: StoredModel, lane: Lane, own_mib: float) -> None:
        """A session was closed."""
        self._store.release(model.digest)
        with self._lock:
            self._ledger.release(lane.replica)
            self._own_mib -= own_mib

    def check_chunks(self, chunks: Chunks) -> None:
        """Raises ModelFault for chunks that a session cannot run on."""
        if not chunks or list(chunks) != sorted(set(chunks)) or chunks[0] < 0 or chunks[-1] >= self.chunks:
            expected = f"at least one of 0 to {self.chunks - 1}, in rising order"
            raise ModelFault(reason=f"its chunks are {list(chunks)}, expected {expected}")

    def _load(self, model: StoredModel, lane: Lane) -> SimModel:
        loaded = self._models.read(model)
        self._reserve(loaded, model, lane)  # before its weights come onto the device
        self.pace.pause_until(self.pace.now_us() + loaded.load_us)
        return loaded

    def _reserve(self, loaded: SimModel, model: StoredModel, lane: Lane) -> None:
        needed_mib = loaded.weights_mib + loaded.own_mib
        if needed_mib > lane.memory_mib:
            parts = f"{loaded.weights_mib:.0f} of weights and {loaded.own_mib:.0f} of its own"
            reason = f"it needs {needed_mib:.0f} MiB ({parts}), its slice's gpu_mem_mib is {lane.memory_mib}"
            raise MemoryRefused(reason=reason)
        with self._lock:
            refusal = self._ledger.reserve(lane.replica, model.digest, loaded.weights_mib, lane.memory_mib)
            if refusal is not None:
                raise MemoryRefused(reason=refusal.reason, passes=refusal.passes)
            self._own_mib += loaded.own_mib


class SimSession:
    """A replica's place on an emulated device."""

    is_portable = True
    is_on_cores = False

    def __init__(
        self, device: SimDevice, model: StoredModel, lane: Lane, loaded: SimModel, footprint: Footprint
    ) -> None:
        self.info = loaded.info
        self.footprint = footprint
        self._device = device
        self._model = model
        self._lane = lane
        self._loaded = loaded
        self._chunks = lane.chunks
        self._closed = False

    def run(self, feed: dict[str, Array]) -> Ran:
        """Zeros, when the time of the batch has passed. Raises ModelFault, DeviceLost."""
        if self._closed:
            raise ModelFault(reason="its session was closed")
        rows = rows_in(self.info, feed)
        batch = self._device.begin(self._loaded, self._chunks, rows)
        try:
            outputs = blank_outputs(self.info, feed, rows)
            self._device.pace.pause_until(batch.ends_us)
        finally:
            self._device.end(batch)
        return Ran(outputs, batch.device_us)

    def move(self, chunks: tuple[int, ...]) -> None:
        """The next batch runs on these. Raises ModelFault."""
        self._device.check_chunks(chunks)
        self._chunks = chunks

    def close(self) -> None:
        """Let go of memory and weights. Idempotent."""
        if not self._closed:
            self._closed = True
            self._device.let_go(self._model, self._lane, self._loaded.own_mib)
