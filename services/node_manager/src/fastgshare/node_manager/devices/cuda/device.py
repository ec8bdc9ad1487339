"""The `cuda` device: one process holds all partitions, weights and graphs of a GPU.

A chunk is a group of SMs of the one split. Memory is promised by the ledger before a load and checked against what the
device has free; an SM count that failed the gate serves nobody; a sticky error fences the device for good.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial

from fastgshare.node_manager.core.memory import MemoryLedger
from fastgshare.node_manager.devices.cuda import driver
from fastgshare.node_manager.devices.cuda.driver import Context, DeviceHandle
from fastgshare.node_manager.devices.cuda.errors import CudaFault, CudaSticky
from fastgshare.node_manager.devices.cuda.fence import Fence
from fastgshare.node_manager.devices.cuda.gate import Gemm, Verdict, judge
from fastgshare.node_manager.devices.cuda.graphs import CAPTURE
from fastgshare.node_manager.devices.cuda.partitions import (
    Chunks,
    Partitions,
    PartitionStream,
    Split,
    split_device,
)
from fastgshare.node_manager.devices.cuda.ports import DeviceModel, Engine
from fastgshare.node_manager.devices.cuda.session import CudaSession, Grounds
from fastgshare.node_manager.devices.cuda.telemetry import Telemetry, open_telemetry
from fastgshare.node_manager.devices.faults import DeviceUnavailable, MemoryRefused, ModelFault
from fastgshare.node_manager.devices.kinds import kind_of
from fastgshare.node_manager.devices.ports import DeviceState, Lane, StoredModel
from fastgshare.node_manager.devices.store import ModelStore
from fastgshare.shared.units import BYTES_PER_MIB

CONTEXT_MIB = 1024  # the primary context, its modules and the libraries' handles: nobody's slice


class CudaDevice:
    """A GPU, split and ready; made by `open_cuda`."""

    def __init__(
        self, handle: DeviceHandle, context: Context, split: Split, engines: Mapping[str, Engine], name: str
    ) -> None:
        self._handle = handle
        self._context = context
        self._split = split
        self._engines = engines
        self._partitions = Partitions(handle, split)
        self._store: ModelStore[DeviceModel] = ModelStore()
        self._fence = Fence(name)
        self._lock = threading.Lock()
        self._refused: dict[int, str] = {}
        self._used_mib = 0.0
        self._telemetry: Telemetry | None = None
        self._is_open = True
        self.kind = kind_of("cuda", name, f"{split.total_sms}sm")
        self.chunks = len(split.chunks)
        self.sms = sum(split.sms)
        self.memory_mib = max(driver.total_memory_bytes(handle) // BYTES_PER_MIB - CONTEXT_MIB, 0)
        self._ledger = MemoryLedger(self.memory_mib)
        self._grounds = Grounds(context, self._partitions, self._fence, self._check_chunks)

    def pass_gate(self, gemm: Gemm) -> list[Verdict]:
        """Compute one matrix product at every SM count; those that fail are refused from here on. Raises CudaSticky."""
        verdicts = judge(self._every_count(), gemm)
        self._refused = {verdict.sms: verdict.reason for verdict in verdicts if not verdict.passed}
        return verdicts

    def watch(self, telemetry: Telemetry | None) -> None:
        """Show these gauges from here on."""
        self._telemetry = telemetry

    def open_session(self, model: StoredModel, lane: Lane) -> CudaSession:
        """Load, and capture on the lane's chunks. Raises ModelFault, MemoryRefused, DeviceLost."""
        engine = self._engines.get(model.format)
        if engine is None:
            known = ", ".join(self._engines)
            raise ModelFault(reason=f"its format is {model.format}, the cuda device runs {known}")
        self._check_chunks(lane.chunks)
        with self._fence.guard(driver.memory_info):
            driver.set_current(self._context)
            self._reserve(engine, model, lane)
            try:
                return self._bring_up(engine, model, lane)
            except BaseException:
                self._free(lane)
                raise

    def state(self) -> DeviceState:
        """A look at the device; the memory is all that anyone uses of it, also outside of this process."""
        if self._is_open and not self._fence.reason:
            with suppress(CudaFault), self._fence.letting_go(driver.memory_info):
                driver.set_current(self._context)
                memory = driver.memory_info()
                self._used_mib = (memory.total_bytes - memory.free_bytes) / BYTES_PER_MIB
        reason = self._fence.reason
        gauges = {"gate_refused_sm_counts": float(len(self._refused))}
        if self._telemetry is not None:
            gauges |= self._telemetry.gauges()
        return DeviceState(not reason, reason, self._used_mib, self._store.table(), gauges)

    def close(self) -> None:
        """Let go of the device. Idempotent."""
        if self._is_open:
            self._is_open = False
            if self._telemetry is not None:
                self._telemetry.close()
                self._telemetry = None
            with suppress(CudaSticky):
                driver.release_primary(self._handle)

    def _check_chunks(self, chunks: Chunks) -> None:
        self._fence.check()
        if not chunks or not all(0 <= chunk < self.chunks for chunk in chunks):
            raise ModelFault(reason=f"chunks {list(chunks)}, expected some of the device's {self.chunks}")
        refusal = self._refused.get(self._partitions.sms(chunks))
        if refusal is not None:
            raise ModelFault(reason=refusal)

    def _every_count(self) -> Iterator[PartitionStream]:
        for count in range(1, self.chunks + 1):
            yield self._partitions.open_stream(tuple(range(count)))

    def _reserve(self, engine: Engine, model: StoredModel, lane: Lane) -> None:
        """Promise the lane its memory, and check that it is really there."""
        weights_mib = model.path.stat().st_size / BYTES_PER_MIB if engine.shares_weights else 0.0
        with self._lock:
            is_here = model.digest in self._ledger.weights_mib
            refusal = self._ledger.reserve(lane.replica, model.digest, weights_mib, lane.memory_mib)
        if refusal is not None:
            raise MemoryRefused(reason=refusal.reason, passes=refusal.passes)
        needed_mib = 0.0 if is_here else weights_mib
        free_mib = driver.memory_info().free_bytes / BYTES_PER_MIB
        if needed_mib > free_mib:
            self._free(lane)
            raise MemoryRefused(
                reason=f"it needs {needed_mib:.0f} MiB for its weights and the device has {free_mib:.0f} MiB free:"
                " others use memory that was not promised to them",
                passes=True,
            )

    def _free(self, lane: Lane) -> None:
        with self._lock:
            self._ledger.release(lane.replica)

    def _bring_up(self, engine: Engine, model: StoredModel, lane: Lane) -> CudaSession:
        loaded, was_loaded = self._store.hold(model.digest, partial(self._load, engine, model))
        try:
            on_close = partial(self._let_go, model, lane)
            session = CudaSession(self._grounds, loaded, lane, was_loaded and engine.shares_weights, on_close)
            session.open()
        except BaseException:
            self._release(model)
            raise
        return session

    def _load(self, engine: Engine, model: StoredModel) -> DeviceModel:
        with CAPTURE:
            return engine.load(model)

    def _let_go(self, model: StoredModel, lane: Lane) -> None:
        self._release(model)
        self._free(lane)

    def _release(self, model: StoredModel) -> None:
        with CAPTURE, self._fence.letting_go(driver.memory_info):
            self._store.release(model.digest)


def open_cuda(index: int, engines: Mapping[str, Engine], gemm: Gemm) -> CudaDevice:
    """Open a GPU in this process: driver, primary context, one split, gate.

    Raises:
        DeviceUnavailable: no driver, no such device, no partitions, or no SM count that computes right.
    """
    label = f"cuda:{index}"
    try:
        driver.initialise()
        count = driver.device_count()
        if not 0 <= index < count:
            raise DeviceUnavailable(device=label, reason=f"this process sees {count} CUDA devices")
        handle = driver.device(index)
        context = driver.retain_primary(handle)
    except (CudaFault, RuntimeError) as error:  # the bindings raise RuntimeError where there is no driver library
        raise DeviceUnavailable(device=label, reason=str(error)) from error
    try:
        driver.set_current(context)
        split = split_device(handle)
        name = driver.device_name(handle)
        device = CudaDevice(handle, context, split, engines, name)
        bus_id = driver.pci_bus_id(handle)
        verdicts = device.pass_gate(gemm)
    except (CudaFault, RuntimeError) as error:
        with suppress(CudaFault):
            driver.release_primary(handle)
        raise DeviceUnavailable(device=label, reason=str(error)) from error
    device.watch(open_telemetry(bus_id))
    if not any(verdict.passed for verdict in verdicts):
        device.close()
        reason = verdicts[0].reason if verdicts else "its SMs cannot be split into chunks"
        raise DeviceUnavailable(device=label, reason=reason)
    return device
