"""Lines on standard output for whoever runs the simulator: see `fastgshare.shared.simulated`."""

import sys
from collections.abc import Callable

from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.simulated import Advanced, Told, line_of
from fastgshare.shared.units import US_PER_MS, us_to_s
from fastgshare.simulator.core.run import Progress

EVERY_US = 100 * US_PER_MS

Tell = Callable[[Told], None]


def tell(told: Told) -> None:
    """At once, so that a progress bar moves."""
    sys.stdout.buffer.write(line_of(told))
    sys.stdout.buffer.flush()


def progress_to(tell: Tell) -> Progress:
    """Tells how far a simulation is, ten times a second at most."""
    last_us = 0

    def advanced(now_us: int, requests: int) -> None:
        nonlocal last_us
        at_us = monotonic_us()
        if at_us - last_us >= EVERY_US:
            last_us = at_us
            tell(Advanced(at_s=us_to_s(now_us), requests=requests))

    return advanced
