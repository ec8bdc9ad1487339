"""A replica's model on its chunks: programs captured ahead on a stream of its own, timed by events.

A move captures for the new chunks before it leaves the old ones. The place it came from stays captured, so that going
back costs nothing, as long as the slice's memory allows it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fastgshare.node_manager.devices.cuda import driver
from fastgshare.node_manager.devices.cuda.driver import Context
from fastgshare.node_manager.devices.cuda.feeds import rows_of
from fastgshare.node_manager.devices.cuda.fence import Fence
from fastgshare.node_manager.devices.cuda.graphs import CAPTURE, Programs, capture_plan, prepare
from fastgshare.node_manager.devices.cuda.partitions import Chunks, Partitions, PartitionStream
from fastgshare.node_manager.devices.cuda.ports import DeviceModel, Program
from fastgshare.node_manager.devices.cuda.timing import Timer, open_timer
from fastgshare.node_manager.devices.faults import MemoryRefused, ModelFault
from fastgshare.node_manager.devices.ports import Footprint, Lane, Ran
from fastgshare.shared.arrays import Array
from fastgshare.shared.units import BYTES_PER_MIB


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a session needs of its device."""

    context: Context
    partitions: Partitions
    fence: Fence
    check_chunks: Callable[[Chunks], None]  # raises ModelFault where these must not serve


@dataclass(slots=True)
class _Place:
    stream: PartitionStream
    programs: Programs
    own_mib: float

    def close(self) -> None:
        with CAPTURE:
            self.programs.close()
        self.stream.close()


class CudaSession:
    """Used by the thread that opened it alone: libraries keep handles and workspaces per thread."""

    is_portable = False
    is_on_cores = False

    def __init__(
        self, grounds: Grounds, model: DeviceModel, lane: Lane, was_loaded: bool, on_close: Callable[[], None]
    ) -> None:
        self.info = model.info
        self.footprint = Footprint(model.weights_mib, 0.0, was_loaded)
        self._grounds = grounds
        self._model = model
        self._lane = lane
        self._on_close = on_close
        self._plan = capture_plan(model.info, lane.max_batch, model.can_capture)
        self._places: dict[Chunks, _Place] = {}
        self._chunks: Chunks = ()
        self._timer: Timer | None = None

    def open(self) -> None:
        """Capture everything on the lane's chunks. Raises MemoryRefused, ModelFault, CudaFault; leaves nothing then."""
        try:
            self._timer = open_timer()
            self._go_to(self._lane.chunks)
        except BaseException:
            self._free()
            raise

    def run(self, feed: dict[str, Array]) -> Ran:
        """One batch. Raises ModelFault (InputUnusable among them), DeviceLost."""
        place, timer = self._here()
        rows = rows_of(feed, self.info)
        program = place.programs.for_rows(rows)
        if program is None:
            raise ModelFault(
                reason=f"a batch of {rows} rows, this replica was brought up for {self._lane.max_batch} at most"
            )
        stream = place.stream.stream
        with self._grounds.fence.guard(partial(driver.synchronize, stream)):
            driver.set_current(self._grounds.context)
            timer.start(stream)
            program.feed(feed)
            program.launch()
            program.fetch()
            timer.stop(stream)
            device_us = timer.wait_us()
            return Ran(program.outputs(rows), device_us)

    def move(self, chunks: Chunks) -> None:
        """Compute on these chunks from the next run on; stays where it is on a fault. Raises ModelFault, DeviceLost."""
        place, _ = self._here()
        self._grounds.check_chunks(chunks)
        with self._grounds.fence.guard(partial(driver.synchronize, place.stream.stream)):
            driver.set_current(self._grounds.context)
            self._go_to(chunks)

    def close(self) -> None:
        """Free everything of its own and let go of the weights. Idempotent."""
        if self._timer is not None:
            self._free()
            self._on_close()

    def _here(self) -> tuple[_Place, Timer]:
        if self._timer is None:
            raise ModelFault(reason="its session was closed")
        return self._places[self._chunks], self._timer

    def _go_to(self, chunks: Chunks) -> None:
        if chunks not in self._places:
            self._keep_only(self._chunks)
            self._places[chunks] = self._prepare(chunks)
            self._check_budget(chunks)
        self._chunks = chunks
        if self._own_mib() > self._budget_mib():
            self._keep_only(chunks)
        self.footprint = self.footprint._replace(own_mib=self._own_mib())

    def _prepare(self, chunks: Chunks) -> _Place:
        with CAPTURE:
            free_bytes = driver.memory_info().free_bytes
            stream = self._grounds.partitions.open_stream(chunks)
            try:
                programs = prepare(self._plan, partial(self._program, stream))
            except BaseException:
                stream.close()
                raise
            took_bytes = free_bytes - driver.memory_info().free_bytes
        return _Place(stream, programs, max(took_bytes, 0) / BYTES_PER_MIB)

    def _program(self, stream: PartitionStream, rows: int) -> Program:
        """Warm-ups and the capture run on the chunks: one program is one turn."""
        with self._lane.turn():
            return self._model.program(stream, rows)

    def _check_budget(self, chunks: Chunks) -> None:
        """A slice's memory is a promise to the others: what turned out larger is taken down again."""
        own_mib = self._places[chunks].own_mib
        if own_mib > self._budget_mib():
            self._places.pop(chunks).close()
            raise MemoryRefused(
                reason=f"it took {own_mib:.0f} MiB for batches of {self._lane.max_batch} beside"
                f" {self.footprint.weights_mib:.0f} MiB of weights, its slice's gpu_mem_mib is {self._lane.memory_mib}"
            )

    def _own_mib(self) -> float:
        return sum(place.own_mib for place in self._places.values())

    def _budget_mib(self) -> float:
        return self._lane.memory_mib - self.footprint.weights_mib

    def _keep_only(self, chunks: Chunks) -> None:
        for other in [place for place in self._places if place != chunks]:
            self._places.pop(other).close()

    def _free(self) -> None:
        timer, self._timer = self._timer, None
        with self._grounds.fence.letting_go(driver.memory_info):
            driver.set_current(self._grounds.context)
            self._keep_only(())
            if timer is not None:
                timer.close()
