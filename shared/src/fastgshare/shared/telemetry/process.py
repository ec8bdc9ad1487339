"""What a process tells of itself: processor time, memory, open files, its build, its connection to the bus."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from fastgshare.shared.bus import Bus
from fastgshare.shared.service import rss_mib
from fastgshare.shared.telemetry.catalog import BUILD, CPU, FILES, MEMORY, RECONNECTS, UP
from fastgshare.shared.telemetry.metrics import Family, Value, single
from fastgshare.shared.units import BYTES_PER_MIB


class ProcessMetrics:
    """Of this process, which is the `instance` of `service` in `version`; `buses` are its connections."""

    def __init__(self, service: str, instance: str, version: str, *buses: Bus) -> None:
        self._labels = (service, instance, version)
        self._buses = buses
        self._reconnects = 0
        for bus in buses:
            bus.on_reconnect(self._count_reconnect)

    def families(self) -> Iterator[Family]:
        """As it is now."""
        times = os.times()
        yield Family(BUILD, (Value(self._labels, 1),))
        yield single(UP, float(all(bus.is_connected for bus in self._buses)))
        yield single(RECONNECTS, self._reconnects)
        yield single(CPU, times.user + times.system)
        yield single(MEMORY, rss_mib() * BYTES_PER_MIB)
        with suppress(OSError):
            yield single(FILES, sum(1 for _ in Path("/proc/self/fd").iterdir()))

    def _count_reconnect(self) -> None:
        self._reconnects += 1
