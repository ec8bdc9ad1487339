"""The error table: what is not known to be harmless fences the device."""

import pytest

from fastgshare.node_manager.devices.cuda.errors import (
    RECOVERABLE,
    CudaFault,
    CudaOutOfMemory,
    CudaSticky,
    Severity,
    fault_of,
    severity,
)

# What the driver's documentation says leaves a context unusable, or tells of broken hardware.
STICKY = [214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 802, 805, 806, 809, 810, 911, 999]


@pytest.mark.parametrize("code", STICKY)
def test_errors_that_kernels_and_hardware_leave_behind_are_sticky(code: int) -> None:
    assert severity(code) is Severity.STICKY
    assert isinstance(fault_of("cuEventSynchronize", code, "NAME"), CudaSticky)


def test_want_of_memory_is_not_sticky() -> None:
    fault = fault_of("cuMemAlloc", 2, "CUDA_ERROR_OUT_OF_MEMORY")
    assert isinstance(fault, CudaOutOfMemory)
    assert str(fault) == "cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY (2)"


def test_a_call_that_was_wrong_or_is_not_supported_costs_itself_only() -> None:
    for code in (1, 400, 801, 900, 915):
        assert type(fault_of("call", code, "NAME")) is CudaFault


def test_a_code_from_the_future_is_sticky() -> None:
    assert severity(4711) is Severity.STICKY


def test_every_code_of_the_table_is_one_the_driver_has() -> None:
    driver = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is missing here")
    assert {int(code) for code in driver.CUresult} >= RECOVERABLE
