"""The open questions, one function each: the answer is plain data, and what goes wrong is the process's end.

`python -m benchmarks.gpu_check.questions NAME` asks one and prints its answer as the last line.
"""

import json
import shutil
import sys
from collections.abc import Callable
from functools import partial
from statistics import median
from time import monotonic_ns
from typing import Any, NamedTuple

from fastgshare.node_manager.devices.cuda import driver
from fastgshare.node_manager.devices.cuda.driver import DeviceHandle, Stream
from fastgshare.node_manager.devices.cuda.errors import CudaFault
from fastgshare.node_manager.devices.cuda.gate import judge
from fastgshare.node_manager.devices.cuda.partitions import CHUNK_SMS, Partitions, Split, split_device
from fastgshare.node_manager.devices.cuda.telemetry import open_telemetry
from fastgshare.node_manager.devices.cuda.timing import open_timer

Answer = dict[str, Any]
REPEATS = 20
SPIN_CYCLES = 20_000_000  # about 10 ms
BLOCKS = 4096
STREAM_COUNTS = (1, 8, 9, 16, 32, 33, 64)


class Opened(NamedTuple):
    """Device 0, split once."""

    handle: DeviceHandle
    split: Split
    partitions: Partitions


def opened() -> Opened:
    """Open device 0 as the device does."""
    driver.initialise()
    handle = driver.device(0)
    driver.set_current(driver.retain_primary(handle))
    split = split_device(handle)
    return Opened(handle, split, Partitions(handle, split))


def chunks() -> Answer:
    """How many chunks there are, and whether the remainder can stand alone or beside a chunk."""
    handle, split, _ = opened()
    whole = driver.sm_resource(handle)
    _, rest = driver.split(whole, driver.count_split(whole, CHUNK_SMS), CHUNK_SMS)
    first = driver.split(whole, 1, CHUNK_SMS)[0][0]
    answer: Answer = {"sms": split.total_sms, "chunk_sms": split.sms, "spare_sms": split.spare_sms}
    if split.spare_sms:
        answer["remainder_alone"] = _can_make(handle, [rest])
        answer["remainder_of_another_split_with_chunk"] = _can_make(handle, [first, rest])
        groups, same_rest = driver.split(whole, driver.count_split(whole, CHUNK_SMS), CHUNK_SMS)
        answer["remainder_with_chunk"] = _can_make(handle, [groups[0], same_rest])
    answer["all_chunks_together"] = _can_make(handle, list(split.chunks))
    return answer


def disjoint() -> Answer:
    """On which SMs two partitions run, also from a graph that is launched on the other one's stream."""
    from benchmarks.gpu_check.kernel import Where

    _, split, partitions = opened()
    half = len(split.chunks) // 2
    left = partitions.open_stream(tuple(range(half)))
    right = partitions.open_stream(tuple(range(half, len(split.chunks))))
    where = Where(BLOCKS)
    seen: dict[str, set[int]] = {}
    for name, place in (("left", left), ("right", right)):
        where.clear(place.stream)
        where.launch(place.stream, 10_000)
        seen[name] = where.noted(place.stream)
    driver.begin_capture(left.stream)
    where.launch(left.stream, 10_000)
    graph = driver.end_capture(left.stream)
    for name, place in (("left_graph", left), ("left_graph_on_right_stream", right)):
        where.clear(place.stream)
        driver.launch(graph, place.stream)
        seen[name] = where.noted(place.stream)
    return {
        "sms": {name: len(sms) for name, sms in seen.items()},
        "expected_sms": {"left": left.sms, "right": right.sms},
        "streams_overlap_sms": len(seen["left"] & seen["right"]),
        "graph_stays_where_captured": seen["left_graph"] == seen["left_graph_on_right_stream"] == seen["left"],
    }


def events() -> Answer:
    """Whether events of the primary context time a partition's stream, and what waiting asleep costs."""
    _, _, partitions = opened()
    place = partitions.open_stream((0,))
    timer = open_timer()
    asleep_us, awake_us, device_us = [], [], []
    for _ in range(REPEATS):
        started_ns = monotonic_ns()
        timer.start(place.stream)
        timer.stop(place.stream)
        device_us.append(timer.wait_us())
        asleep_us.append((monotonic_ns() - started_ns) / 1000)
        started_ns = monotonic_ns()
        driver.synchronize(place.stream)
        awake_us.append((monotonic_ns() - started_ns) / 1000)
    return {
        "empty_device_us": median(device_us),
        "wait_asleep_us": median(asleep_us),
        "synchronize_us": median(awake_us),
    }


def costs() -> Answer:
    """What a partition with its first stream costs, and a further stream."""
    _, split, partitions = opened()
    everything = tuple(range(len(split.chunks)))
    answer: Answer = {}
    for name, wanted in (("one_chunk", (0,)), ("all_chunks", everything)):
        made_us, ended_us = [], []
        for _ in range(REPEATS):
            started_ns = monotonic_ns()
            place = partitions.open_stream(wanted)
            made_ns = monotonic_ns()
            place.close()
            made_us.append((made_ns - started_ns) / 1000)
            ended_us.append((monotonic_ns() - made_ns) / 1000)
        answer[name] = {"create_us": median(made_us), "first_create_us": made_us[0], "destroy_us": median(ended_us)}
    keeps = partitions.open_stream((0,))
    free_bytes = driver.memory_info().free_bytes
    further_us = []
    for _ in range(REPEATS):
        started_ns = monotonic_ns()
        partitions.open_stream((0,)).close()
        further_us.append((monotonic_ns() - started_ns) / 1000)
    other = partitions.open_stream((1,))
    answer["further_stream_us"] = median(further_us)
    answer["context_mib"] = (free_bytes - driver.memory_info().free_bytes) / (1 << 20)
    other.close()
    keeps.close()
    return answer


def recapture() -> Answer:
    """What capturing one batch size of a model of 80 kernels costs on a new partition, and its replay."""
    import torch

    from fastgshare.node_manager.devices.cuda.torch_placement import CudaPlacement

    _, _, partitions = opened()
    placement = CudaPlacement(0)
    layers = [module for _ in range(40) for module in (torch.nn.Linear(1024, 1024), torch.nn.ReLU())]
    model = torch.nn.Sequential(*layers).to(placement.device).eval()
    capture_ms, replay_us = [], []
    for chunk in range(4):
        place = partitions.open_stream((chunk,))
        started_ns = monotonic_ns()
        with torch.no_grad(), placement.on(place):
            x = torch.zeros(8, 1024, device=placement.device)
            for _ in range(3):
                model(x)
        placement.settle(place)
        with torch.no_grad():
            recorded = placement.record(partial(_named, model, x), place)
        capture_ms.append((monotonic_ns() - started_ns) / 1e6)
        timer = open_timer()
        with placement.on(place):
            for _ in range(REPEATS):
                timer.start(place.stream)
                recorded.replay()
                timer.stop(place.stream)
                replay_us.append(timer.wait_us())
    return {"first_capture_ms": capture_ms[0], "capture_ms": median(capture_ms[1:]), "replay_us": median(replay_us)}


def gate() -> Answer:
    """The GEMM gate at every SM count."""
    from fastgshare.node_manager.devices.cuda.torch_placement import CudaPlacement, gemm_on

    _, split, partitions = opened()
    places = (partitions.open_stream(tuple(range(count + 1))) for count in range(len(split.chunks)))
    verdicts = judge(places, gemm_on(CudaPlacement(0)))
    return {
        "passed_sms": [verdict.sms for verdict in verdicts if verdict.passed],
        "failed": {verdict.sms: verdict.reason for verdict in verdicts if not verdict.passed},
        "largest_error": max(verdict.error for verdict in verdicts if not verdict.fault),
    }


def streams() -> Answer:
    """How much longer than one block's kernel so many of them take, each on a stream of its own: 1 is at once."""
    from benchmarks.gpu_check.kernel import Where

    _, split, partitions = opened()
    where = Where(1)
    places = [partitions.open_stream((number % len(split.chunks),)) for number in range(max(STREAM_COUNTS))]
    ready: list[Stream] = [place.stream for place in places]
    took_ms: dict[int, float] = {}
    for count in (STREAM_COUNTS[0], *STREAM_COUNTS):  # the first time warms up
        started_ns = monotonic_ns()
        for stream in ready[:count]:
            where.launch(stream, SPIN_CYCLES, 1)
        for stream in ready[:count]:
            driver.synchronize(stream)
        took_ms[count] = (monotonic_ns() - started_ns) / 1e6
    return {"one_ms": took_ms[1], "times_as_long": {count: took_ms[count] / took_ms[1] for count in STREAM_COUNTS}}


def gpm() -> Answer:
    """Whether the device has GPM metrics, and what they read while every SM is busy."""
    from benchmarks.gpu_check.kernel import Where

    handle, split, partitions = opened()
    telemetry = open_telemetry(driver.pci_bus_id(handle))
    if telemetry is None:
        return {"supported": False}
    place = partitions.open_stream(tuple(range(len(split.chunks))))
    where = Where(split.total_sms)
    for _ in range(30):
        where.launch(place.stream, SPIN_CYCLES)
    driver.synchronize(place.stream)
    gauges = telemetry.gauges()
    telemetry.close()
    return {"supported": True, "busy": gauges}


def mps() -> Answer:
    """Whether this machine has what the MPS back end needs."""
    return {name: shutil.which(name) for name in ("nvidia-cuda-mps-control", "nvidia-cuda-mps-server")}


def _named(model: Callable[[Any], Any], x: Any) -> dict[str, Any]:
    return {"y": model(x)}


def _can_make(handle: DeviceHandle, resources: list[driver.Resource]) -> str:
    try:
        context = driver.create_green(handle, resources)
    except CudaFault as fault:
        return str(fault)
    driver.destroy_green(context)
    return "yes"


ALL: dict[str, Callable[[], Answer]] = {
    question.__name__: question for question in (chunks, disjoint, events, costs, recapture, gate, streams, gpm, mps)
}

if __name__ == "__main__":
    print(json.dumps(ALL[sys.argv[1]]()))
