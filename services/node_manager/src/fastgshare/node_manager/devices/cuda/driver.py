"""The CUDA driver, one thin typed function a call; the only module that knows `cuda.bindings.driver`.

Calls are positional, because parameter names changed between binding versions, and a failure is a `CudaFault`. Nothing
here decides anything. Handles are opaque: they are passed back as they came. The bindings release the GIL.
"""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple, NewType

from cuda.bindings import driver as _cuda
from cuda.bindings.utils import get_cuda_native_handle

from fastgshare.node_manager.devices.cuda.errors import fault_of

DeviceHandle = NewType("DeviceHandle", object)
Context = NewType("Context", object)
GreenContext = NewType("GreenContext", object)
Resource = NewType("Resource", object)
Stream = NewType("Stream", object)
Event = NewType("Event", object)
Graph = NewType("Graph", object)

CONNECTIONS = "32"  # hardware queues; with the default of 8, streams of different replicas wait for each other
_SM = _cuda.CUdevResourceType.CU_DEV_RESOURCE_TYPE_SM
_NAME_BYTES = 256


class MemoryInfo(NamedTuple):
    """Device memory in bytes."""

    free_bytes: int
    total_bytes: int


def check(call: str, result: Sequence[Any]) -> Any:
    """The payload of a bindings result: nothing, one value, or several. Raises CudaFault."""
    code = int(result[0])
    if code:
        raise fault_of(call, code, getattr(result[0], "name", "unknown error"))
    return result[1] if len(result) == 2 else tuple(result[1:])


# the device


def initialise() -> None:
    """Start the driver in this process. Raises CudaFault, or RuntimeError where there is no driver."""
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", CONNECTIONS)
    check("cuInit", _cuda.cuInit(0))


def driver_version() -> int:
    """The newest CUDA that the driver speaks: 13000 is 13.0."""
    return int(check("cuDriverGetVersion", _cuda.cuDriverGetVersion()))


def device_count() -> int:
    """Devices that this process may see."""
    return int(check("cuDeviceGetCount", _cuda.cuDeviceGetCount()))


def device(index: int) -> DeviceHandle:
    """A device by its index among those."""
    return DeviceHandle(check("cuDeviceGet", _cuda.cuDeviceGet(index)))


def device_name(handle: DeviceHandle) -> str:
    """Its marketing name, as in "NVIDIA H200"."""
    raw = bytes(check("cuDeviceGetName", _cuda.cuDeviceGetName(_NAME_BYTES, handle)))
    return raw.split(b"\0", 1)[0].decode(errors="replace").strip()


def pci_bus_id(handle: DeviceHandle) -> str:
    """Its place on the bus, by which NVML finds the same device whatever this process may see."""
    raw = bytes(check("cuDeviceGetPCIBusId", _cuda.cuDeviceGetPCIBusId(64, handle)))
    return raw.split(b"\0", 1)[0].decode()


def total_memory_bytes(handle: DeviceHandle) -> int:
    """All memory of the device."""
    return int(check("cuDeviceTotalMem", _cuda.cuDeviceTotalMem(handle)))


def retain_primary(handle: DeviceHandle) -> Context:
    """Hold the primary context, in which everything is allocated."""
    return Context(check("cuDevicePrimaryCtxRetain", _cuda.cuDevicePrimaryCtxRetain(handle)))


def release_primary(handle: DeviceHandle) -> None:
    """Let go of the primary context."""
    check("cuDevicePrimaryCtxRelease", _cuda.cuDevicePrimaryCtxRelease(handle))


def set_current(context: Context) -> None:
    """Make a context the calling thread's."""
    check("cuCtxSetCurrent", _cuda.cuCtxSetCurrent(context))


def memory_info() -> MemoryInfo:
    """Memory of the current context's device, other processes' use included."""
    free_bytes, total_bytes = check("cuMemGetInfo", _cuda.cuMemGetInfo())
    return MemoryInfo(int(free_bytes), int(total_bytes))


# SMs


def sm_resource(handle: DeviceHandle) -> Resource:
    """All SMs of a device."""
    return Resource(check("cuDeviceGetDevResource", _cuda.cuDeviceGetDevResource(handle, _SM)))


def sm_count(resource: Resource) -> int:
    """How many SMs a resource is."""
    return int(resource.sm.smCount)  # type: ignore[attr-defined]


def count_split(whole: Resource, sms: int) -> int:
    """How many groups of at least `sms` SMs a split would give."""
    result = _cuda.cuDevSmResourceSplitByCount(0, whole, 0, sms)
    return int(check("cuDevSmResourceSplitByCount", result)[1])


def split(whole: Resource, groups: int, sms: int) -> tuple[tuple[Resource, ...], Resource]:
    """Disjoint groups of at least `sms` SMs, and what is left. Groups of two split calls are not disjoint."""
    result = _cuda.cuDevSmResourceSplitByCount(groups, whole, 0, sms)
    made, count, rest = check("cuDevSmResourceSplitByCount", result)
    return tuple(Resource(group) for group in made[: int(count)]), Resource(rest)


def create_green(handle: DeviceHandle, resources: Sequence[Resource]) -> GreenContext:
    """A context whose streams compute on these SMs only. The primary context has to be held."""
    described = _cuda.cuDevResourceGenerateDesc(list(resources), len(resources))
    descriptor = check("cuDevResourceGenerateDesc", described)
    flag = _cuda.CUgreenCtxCreate_flags.CU_GREEN_CTX_DEFAULT_STREAM
    return GreenContext(check("cuGreenCtxCreate", _cuda.cuGreenCtxCreate(descriptor, handle, flag)))


def destroy_green(context: GreenContext) -> None:
    """Its streams have to be destroyed before: they would be lost otherwise."""
    check("cuGreenCtxDestroy", _cuda.cuGreenCtxDestroy(context))


# streams and events


def create_stream(context: GreenContext) -> Stream:
    """A stream in a green context."""
    flag = _cuda.CUstream_flags.CU_STREAM_NON_BLOCKING
    return Stream(check("cuGreenCtxStreamCreate", _cuda.cuGreenCtxStreamCreate(context, flag, 0)))


def stream_number(stream: Stream) -> int:
    """The stream as other libraries take it: its handle as an integer."""
    return int(get_cuda_native_handle(stream))


def synchronize(stream: Stream) -> None:
    """Wait for everything on a stream; what failed there is raised here."""
    check("cuStreamSynchronize", _cuda.cuStreamSynchronize(stream))


def destroy_stream(stream: Stream) -> None:
    """Drain it before."""
    check("cuStreamDestroy", _cuda.cuStreamDestroy(stream))


def create_event() -> Event:
    """An event that keeps time, and whose waiters sleep: a core each for spinning replicas would be too many."""
    flag = _cuda.CUevent_flags.CU_EVENT_BLOCKING_SYNC
    return Event(check("cuEventCreate", _cuda.cuEventCreate(flag)))


def record(event: Event, stream: Stream) -> None:
    """Note the moment at which the stream gets here."""
    check("cuEventRecord", _cuda.cuEventRecord(event, stream))


def wait(event: Event) -> None:
    """Wait until the event happened; what failed before it is raised here."""
    check("cuEventSynchronize", _cuda.cuEventSynchronize(event))


def elapsed_ms(start: Event, end: Event) -> float:
    """Time between two events that happened; half a microsecond fine."""
    return float(check("cuEventElapsedTime", _cuda.cuEventElapsedTime(start, end)))


def destroy_event(event: Event) -> None:
    """Free an event."""
    check("cuEventDestroy", _cuda.cuEventDestroy(event))


# memory


def allocate(size_bytes: int) -> int:
    """Device memory; its address."""
    return int(check("cuMemAlloc", _cuda.cuMemAlloc(size_bytes)))


def free(address: int) -> None:
    """Free device memory."""
    check("cuMemFree", _cuda.cuMemFree(address))


def copy_in(address: int, host_address: int, size_bytes: int, stream: Stream) -> None:
    """Host to device, on the stream."""
    check("cuMemcpyHtoDAsync", _cuda.cuMemcpyHtoDAsync(address, host_address, size_bytes, stream))


def copy_out(host_address: int, address: int, size_bytes: int, stream: Stream) -> None:
    """Device to host, on the stream."""
    check("cuMemcpyDtoHAsync", _cuda.cuMemcpyDtoHAsync(host_address, address, size_bytes, stream))


def copy_across(to_address: int, from_address: int, size_bytes: int, stream: Stream) -> None:
    """Device to device, on the stream."""
    check("cuMemcpyDtoDAsync", _cuda.cuMemcpyDtoDAsync(to_address, from_address, size_bytes, stream))


# graphs


def begin_capture(stream: Stream) -> None:
    """What is put on the stream from here on becomes a graph; other threads may go on as they like."""
    mode = _cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    check("cuStreamBeginCapture", _cuda.cuStreamBeginCapture(stream, mode))


def end_capture(stream: Stream) -> Graph:
    """The captured work, ready to be launched."""
    graph = check("cuStreamEndCapture", _cuda.cuStreamEndCapture(stream))
    try:
        return Graph(check("cuGraphInstantiate", _cuda.cuGraphInstantiate(graph, 0)))
    finally:
        check("cuGraphDestroy", _cuda.cuGraphDestroy(graph))


def launch(graph: Graph, stream: Stream) -> None:
    """Run a graph behind what is on the stream; it computes on the SMs of the stream it was captured on."""
    check("cuGraphLaunch", _cuda.cuGraphLaunch(graph, stream))


def destroy_graph(graph: Graph) -> None:
    """Free a graph that does not run."""
    check("cuGraphExecDestroy", _cuda.cuGraphExecDestroy(graph))
