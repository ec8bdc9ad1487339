"""How long the device was busy with a batch, told by events on the replica's own stream."""

from contextlib import suppress

from fastgshare.node_manager.devices.cuda import driver
from fastgshare.node_manager.devices.cuda.driver import Event, Stream
from fastgshare.node_manager.devices.cuda.errors import CudaSticky
from fastgshare.shared.units import US_PER_MS


class Timer:
    """Two events, used over and over by one session."""

    def __init__(self, start: Event, end: Event) -> None:
        self._start = start
        self._end = end

    def start(self, stream: Stream) -> None:
        """Everything put on the stream from here on counts."""
        driver.record(self._start, stream)

    def stop(self, stream: Stream) -> None:
        """What comes later does not count."""
        driver.record(self._end, stream)

    def wait_us(self) -> int:
        """Wait for the end; the time between both in microseconds. Nothing is free: at least one. Raises CudaFault."""
        driver.wait(self._end)
        return max(round(driver.elapsed_ms(self._start, self._end) * US_PER_MS), 1)

    def close(self) -> None:
        """Free the events."""
        with suppress(CudaSticky):
            driver.destroy_event(self._start)
            driver.destroy_event(self._end)


def open_timer() -> Timer:
    """A timer in the current context. Raises CudaFault."""
    start = driver.create_event()
    try:
        return Timer(start, driver.create_event())
    except BaseException:
        driver.destroy_event(start)
        raise
