"""What the whole device does, as NVML tells it: GPU performance metrics between one look and the next.

These are gauges for people; nothing depends on them. A host without NVML, or a device without such metrics (before
Hopper), has none, and a failing look gives none. Per function the truth is event time times SMs held.
Source: NVML, "GPM Enums and Structs".
"""

import threading
from typing import Any

_METRICS = {"sm_util_percent": 2, "sm_occupancy_percent": 3, "tensor_active_percent": 5, "dram_bw_percent": 10}


class Telemetry:
    """Gauges of one device. `close` it; thread-safe."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        self._lock = threading.Lock()
        self._samples: list[Any] = []

    def start(self) -> None:
        """Take the first sample."""
        for _ in range(2):
            self._samples.append(self._nvml.nvmlGpmSampleAlloc())
        self._nvml.nvmlGpmSampleGet(self._handle, self._samples[0])

    def gauges(self) -> dict[str, float]:
        """Percentages since the last look; empty where there are none. Never raises."""
        with self._lock:
            if len(self._samples) < 2:
                return {}
            try:
                return self._look()
            except self._nvml.NVMLError:
                return {}

    def close(self) -> None:
        """Free the samples and let go of NVML."""
        with self._lock:
            try:
                for sample in self._samples:
                    self._nvml.nvmlGpmSampleFree(sample)
                self._nvml.nvmlShutdown()
            except self._nvml.NVMLError:
                pass  # nothing is left to be done about it
            finally:
                self._samples.clear()

    def _look(self) -> dict[str, float]:
        before, now = self._samples
        self._nvml.nvmlGpmSampleGet(self._handle, now)
        self._samples = [now, before]
        ask = self._nvml.c_nvmlGpmMetricsGet_t()
        ask.version = self._nvml.NVML_GPM_METRICS_GET_VERSION
        ask.numMetrics = len(_METRICS)
        ask.sample1, ask.sample2 = before, now
        for place, number in enumerate(_METRICS.values()):
            ask.metrics[place].metricId = number
        self._nvml.nvmlGpmMetricsGet(ask)
        answers = zip(_METRICS, ask.metrics, strict=False)  # NVML's array is longer than what is asked
        return {name: float(metric.value) for name, metric in answers if metric.nvmlReturn == 0}


def open_telemetry(pci_bus_id: str) -> Telemetry | None:
    """Gauges of the device at that place on the bus; None where NVML or the device has none. Never raises."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        handle = pynvml.nvmlDeviceGetHandleByPciBusId(pci_bus_id)
        telemetry = Telemetry(pynvml, handle)
        if pynvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice:
            telemetry.start()
            return telemetry
    except pynvml.NVMLError:
        pass  # an older driver has no such call; the device serves all the same
    pynvml.nvmlShutdown()
    return None
