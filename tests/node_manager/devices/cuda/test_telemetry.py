"""Gauges from NVML, which may lack everything."""
# ruff: noqa: N802 (the fake has NVML's names)

import ctypes
import sys
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from fastgshare.node_manager.devices.cuda.telemetry import open_telemetry


class Nvml(SimpleNamespace):
    """Stands for the module: a device with GPM whose metrics read as their own number."""

    NVMLError = pynvml.NVMLError
    NVML_GPM_METRICS_GET_VERSION = pynvml.NVML_GPM_METRICS_GET_VERSION
    c_nvmlGpmMetricsGet_t = pynvml.c_nvmlGpmMetricsGet_t  # noqa: N815

    def __init__(self, supported: bool = True) -> None:
        super().__init__(supported=supported, fails=False, alive=0, samples=0, taken=[])

    def nvmlInit(self) -> None:
        self.alive += 1

    def nvmlShutdown(self) -> None:
        self.alive -= 1

    def nvmlDeviceGetHandleByPciBusId(self, bus_id: str) -> str:
        return f"device at {bus_id}"

    def nvmlGpmQueryDeviceSupport(self, handle: str) -> SimpleNamespace:
        return SimpleNamespace(isSupportedDevice=int(self.supported))

    def nvmlGpmSampleAlloc(self) -> Any:
        self.samples += 1
        return ctypes.cast(self.samples, pynvml.c_nvmlGpmSample_t)

    def nvmlGpmSampleFree(self, sample: Any) -> None:
        self.samples -= 1

    def nvmlGpmSampleGet(self, handle: str, sample: Any) -> None:
        if self.fails:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        self.taken.append(ctypes.cast(sample, ctypes.c_void_p).value)

    def nvmlGpmMetricsGet(self, ask: Any) -> None:
        for metric in ask.metrics[: ask.numMetrics]:
            metric.nvmlReturn = int(metric.metricId == 5)  # tensor activity is not to be had
            metric.value = float(metric.metricId)


def use(monkeypatch: pytest.MonkeyPatch, nvml: Nvml) -> Nvml:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    return nvml


def test_a_device_with_gpm_tells_what_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = use(monkeypatch, Nvml())
    telemetry = open_telemetry("0000:01:00.0")
    assert telemetry is not None
    expected = {"sm_util_percent": 2.0, "sm_occupancy_percent": 3.0, "dram_bw_percent": 10.0}
    assert telemetry.gauges() == telemetry.gauges() == expected
    assert nvml.taken == [1, 2, 1]  # samples take turns: each look is against the one before
    telemetry.close()
    assert (nvml.alive, nvml.samples) == (0, 0)
    assert telemetry.gauges() == {}


def test_a_failing_look_gives_no_gauges_and_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = use(monkeypatch, Nvml())
    telemetry = open_telemetry("0000:01:00.0")
    assert telemetry is not None
    nvml.fails = True
    assert telemetry.gauges() == {}


def test_a_device_without_gpm_has_none_and_nvml_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = use(monkeypatch, Nvml(supported=False))
    assert open_telemetry("0000:01:00.0") is None
    assert nvml.alive == 0


def test_a_host_without_nvml_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    nvml = use(monkeypatch, Nvml())
    monkeypatch.setattr(nvml, "nvmlInit", absent)
    assert open_telemetry("0000:01:00.0") is None
