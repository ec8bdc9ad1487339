"""What a device tells while something is measured on it: how its memory grows, how full its SMs are.

Memory is that of the whole device, or of the worker's process where the cores are the device. So it is compared only
where no replica came, left or moved meanwhile: what they take is not the measured one's growth. The occupancy is that
of all SMs, too, and told of the time since anybody looked.
"""

from collections.abc import Callable

from fastgshare.node_manager.devices.ports import Device
from fastgshare.shared.units import US_PER_MS

LOOK_EVERY_US = 500 * US_PER_MS
OCCUPANCY = "sm_occupancy_percent"


class Watch:
    """Looks at `device` now and then; memory that grows by more than `limit_mib` ends the measurement.

    `mark()` is as in `Changes`. Once it is another than at the beginning, `grown_mib` is 0.
    """

    def __init__(self, device: Device, limit_mib: float, mark: Callable[[], int | None] = lambda: 0) -> None:
        self._device = device
        self._limit_mib = limit_mib
        self._mark = mark
        self._marked: int | None = None
        self._before_mib: float | None = None
        self._looked_us = 0
        self.grown_mib = 0.0
        self.occupancy_percent: float | None = None

    def begin(self, now_us: int) -> None:
        """What it is before the first run."""
        self._looked_us = now_us
        self._marked = self._mark()
        self._before_mib = self._device.state().used_mib

    def look(self, now_us: int, is_busy: bool, at_once: bool = False) -> str:
        """Why to stop, if there is a reason. `is_busy`: runs were back to back since the look before."""
        if self._before_mib is None or (now_us - self._looked_us < LOOK_EVERY_US and not at_once):
            return ""
        self._looked_us = now_us
        state = self._device.state()
        is_comparable = self._marked is not None and self._marked == self._mark()
        self.grown_mib = state.used_mib - self._before_mib if is_comparable else 0.0
        if is_busy:
            self.occupancy_percent = state.gauges.get(OCCUPANCY)
        if self.grown_mib <= self._limit_mib:
            return ""
        return f"memory grew by {self.grown_mib:.0f} MiB, more than the {self._limit_mib:.0f} MiB the replica may use"
