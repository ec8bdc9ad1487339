"""The only place where the platform reads a clock.

Deadlines cross processes and hosts, so they are wall-clock microseconds since the Unix epoch; hosts are expected
to run NTP. Inside a process, durations come from the monotonic clock.
"""

import time

from fastgshare.shared.units import NS_PER_US


def unix_us() -> int:
    """Wall-clock time in microseconds since the Unix epoch; for deadlines and timestamps on the bus."""
    return time.time_ns() // NS_PER_US


def thread_us() -> int:
    """Processor time of the calling thread in microseconds."""
    return time.thread_time_ns() // NS_PER_US


def monotonic_us() -> int:
    """Monotonic time in microseconds; for durations and wake-ups inside one process."""
    return time.monotonic_ns() // NS_PER_US
