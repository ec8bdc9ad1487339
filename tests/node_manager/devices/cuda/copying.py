"""An engine without kernels: `y = scale * x`, where the host scales and the device copies, in a captured graph.

It goes through partitions, streams, graphs, events and memory as every engine does, on the stub driver and on a GPU.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np

from fastgshare.node_manager.devices.cuda import driver
from fastgshare.node_manager.devices.cuda.device import CudaDevice, open_cuda
from fastgshare.node_manager.devices.cuda.gate import Gemm, Matrix, operands
from fastgshare.node_manager.devices.cuda.partitions import PartitionStream
from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.ports import ModelInfo, StoredModel
from fastgshare.shared.arrays import Array
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.objects import digest_of
from fastgshare.shared.units import BYTES_PER_MIB
from tests.node_manager.devices.contract import WIDTH

FORMAT = "copy"
WEIGHTS_MIB = 4
ROW_BYTES = WIDTH * 4


def stored(path: Path, scale: float) -> StoredModel:
    """A model on disk."""
    path.write_text(json.dumps({"scale": scale}))
    return StoredModel(digest_of(path), path, FORMAT)


class CopyEngine:
    """Its models have one weight, and room as if they had many."""

    shares_weights = True

    def __init__(self, per_program_bytes: int = 0) -> None:
        self._per_program_bytes = per_program_bytes
        self.loads = 0

    def load(self, model: StoredModel) -> "CopyModel":
        try:
            scale = float(json.loads(model.path.read_text())["scale"])
        except (ValueError, KeyError) as error:
            raise ModelFault(reason=f"it is no copy model: {error}") from error
        self.loads += 1
        return CopyModel(scale, self._per_program_bytes)


class CopyModel:
    can_capture = True
    weights_mib = float(WEIGHTS_MIB)

    def __init__(self, scale: float, per_program_bytes: int) -> None:
        shape = (-1, WIDTH)
        self.info = ModelInfo(
            inputs=(TensorSpec("x", "FP32", shape),), outputs=(TensorSpec("y", "FP32", shape),), metadata={}
        )
        self._per_program_bytes = per_program_bytes
        self._scale = np.array([scale], np.float32)
        self._weights = driver.allocate(WEIGHTS_MIB * BYTES_PER_MIB)

    def program(self, place: PartitionStream, rows: int) -> "CopyProgram":
        scale = np.zeros(1, np.float32)
        driver.copy_in(self._weights, self._scale.ctypes.data, scale.nbytes, place.stream)
        driver.copy_out(scale.ctypes.data, self._weights, scale.nbytes, place.stream)
        driver.synchronize(place.stream)
        program = CopyProgram(place, rows, float(scale[0]), self._per_program_bytes)
        program.capture()
        return program

    def close(self) -> None:
        driver.free(self._weights)


class CopyProgram:
    def __init__(self, place: PartitionStream, rows: int, scale: float, spare_bytes: int) -> None:
        self._stream = place.stream
        self._scale = scale
        self._size_bytes = rows * ROW_BYTES
        self._spare_bytes = spare_bytes
        self._host_in = np.zeros((rows, WIDTH), np.float32)
        self._host_out = np.zeros((rows, WIDTH), np.float32)
        self._memory: list[int] = []
        self._graph: driver.Graph | None = None

    def capture(self) -> None:
        try:
            for size in (self._size_bytes, self._size_bytes, self._spare_bytes or 1):
                self._memory.append(driver.allocate(size))
            driver.begin_capture(self._stream)
            try:
                driver.copy_across(self._memory[1], self._memory[0], self._size_bytes, self._stream)
            finally:
                self._graph = driver.end_capture(self._stream)
        except BaseException:
            self.close()
            raise

    def feed(self, feed: dict[str, Array]) -> None:
        x = feed["x"].astype(np.float32)
        self._host_in[: len(x)] = self._scale * x
        self._host_in[len(x) :] = 0
        driver.copy_in(self._memory[0], self._host_in.ctypes.data, self._size_bytes, self._stream)

    def launch(self) -> None:
        assert self._graph is not None
        driver.launch(self._graph, self._stream)

    def fetch(self) -> None:
        driver.copy_out(self._host_out.ctypes.data, self._memory[1], self._size_bytes, self._stream)

    def outputs(self, rows: int) -> dict[str, Array]:
        return {"y": self._host_out[:rows].copy()}

    def close(self) -> None:
        if self._graph is not None:
            driver.destroy_graph(self._graph)
            self._graph = None
        while self._memory:
            driver.free(self._memory.pop())


def honest(place: PartitionStream, a: Matrix, b: Matrix) -> Matrix:
    """A matrix product that is right at every SM count; the gate's operands are always the same."""
    return right_product()


@cache
def right_product() -> Matrix:
    """The gate's product."""
    a, b = operands()
    product: Matrix = a @ b
    return product


def open_copying(engine: CopyEngine | None = None, gemm: Gemm = honest) -> CudaDevice:
    """Device 0 with this engine alone."""
    return open_cuda(0, {FORMAT: engine or CopyEngine()}, gemm)
