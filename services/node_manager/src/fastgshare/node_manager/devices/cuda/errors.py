"""What the driver's error codes mean for a worker: try something else, free memory, or start again.

Errors that a kernel or the hardware leaves behind are sticky: every later call on that device fails, until the process
is gone. Only what is known to be recoverable is treated so; a code nobody listed fences the device.
Source: CUDA Driver API 13.0, `CUresult`.
"""

from enum import Enum

from fastgshare.shared.errors import FastGShareError


class Severity(Enum):
    """What is left to do after an error."""

    RECOVERABLE = "recoverable"  # the call failed, the device did not
    OUT_OF_MEMORY = "out of memory"
    STICKY = "sticky"  # nothing on this device works any more in this process


class CudaFault(FastGShareError):
    """A driver call failed and the device did not: fields `call`, `code`, `name`."""

    def __str__(self) -> str:
        return f"{self.fields['call']}: {self.fields['name']} ({self.fields['code']})"


class CudaOutOfMemory(CudaFault):
    """The device has no memory left for this call."""


class CudaSticky(CudaFault):
    """The device is of no use to this process any more."""


OUT_OF_MEMORY = 2

RECOVERABLE: frozenset[int] = frozenset(
    {
        1,  # INVALID_VALUE
        34,  # STUB_LIBRARY
        36,  # CALL_REQUIRES_NEWER_DRIVER
        100,  # NO_DEVICE
        101,  # INVALID_DEVICE
        200,  # INVALID_IMAGE
        201,  # INVALID_CONTEXT
        209,  # NO_BINARY_FOR_GPU
        215,  # UNSUPPORTED_LIMIT
        218,  # INVALID_PTX
        221,  # JIT_COMPILER_NOT_FOUND
        222,  # UNSUPPORTED_PTX_VERSION
        223,  # JIT_COMPILATION_DISABLED
        224,  # UNSUPPORTED_EXEC_AFFINITY
        300,  # INVALID_SOURCE
        301,  # FILE_NOT_FOUND
        302,  # SHARED_OBJECT_SYMBOL_NOT_FOUND
        303,  # SHARED_OBJECT_INIT_FAILED
        400,  # INVALID_HANDLE
        401,  # ILLEGAL_STATE
        500,  # NOT_FOUND
        600,  # NOT_READY
        701,  # LAUNCH_OUT_OF_RESOURCES
        712,  # HOST_MEMORY_ALREADY_REGISTERED
        713,  # HOST_MEMORY_NOT_REGISTERED
        720,  # COOPERATIVE_LAUNCH_TOO_LARGE
        800,  # NOT_PERMITTED
        801,  # NOT_SUPPORTED
        900,  # STREAM_CAPTURE_UNSUPPORTED
        901,  # STREAM_CAPTURE_INVALIDATED
        902,  # STREAM_CAPTURE_MERGE
        903,  # STREAM_CAPTURE_UNMATCHED
        904,  # STREAM_CAPTURE_UNJOINED
        905,  # STREAM_CAPTURE_ISOLATION
        906,  # STREAM_CAPTURE_IMPLICIT
        907,  # CAPTURED_EVENT
        908,  # STREAM_CAPTURE_WRONG_THREAD
        910,  # GRAPH_EXEC_UPDATE_FAILURE
        912,  # INVALID_CLUSTER_SIZE
        913,  # FUNCTION_NOT_LOADED
        914,  # INVALID_RESOURCE_TYPE
        915,  # INVALID_RESOURCE_CONFIGURATION
    }
)


def severity(code: int) -> Severity:
    """How bad an error code is; what is not listed is sticky."""
    if code == OUT_OF_MEMORY:
        return Severity.OUT_OF_MEMORY
    return Severity.RECOVERABLE if code in RECOVERABLE else Severity.STICKY


_FAULTS: dict[Severity, type[CudaFault]] = {
    Severity.RECOVERABLE: CudaFault,
    Severity.OUT_OF_MEMORY: CudaOutOfMemory,
    Severity.STICKY: CudaSticky,
}


def fault_of(call: str, code: int, name: str) -> CudaFault:
    """The exception for a call that returned `code`."""
    return _FAULTS[severity(code)](call=call, code=code, name=name)
