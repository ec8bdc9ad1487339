"""Counts of durations in buckets that grow with the value, so that any percentile is known within half a percent.

Source: the bucket scheme of HdrHistogram (G. Tene): exact below 256, then 128 buckets for each power of two.
"""

BITS = 7
EXACT_BELOW = 1 << (BITS + 1)


class Histogram:
    """Durations in microseconds, by number. `total_us` is their sum, `longest_us` the largest, both exact."""

    __slots__ = ("_counts", "count", "longest_us", "total_us")

    def __init__(self) -> None:
        self.count = 0
        self.total_us = 0
        self.longest_us = 0
        self._counts: list[int] = [0] * EXACT_BELOW

    def add(self, duration_us: int) -> None:
        """One more; nothing is below 0."""
        self.count += 1
        self.total_us += duration_us
        if duration_us > self.longest_us:
            self.longest_us = duration_us
        shift = duration_us.bit_length() - BITS - 1
        index = duration_us if shift <= 0 else (shift << BITS) + (duration_us >> shift)
        try:
            self._counts[index] += 1
        except IndexError:
            self._counts.extend([0] * (index + 1 - len(self._counts)))
            self._counts[index] = 1

    @property
    def mean_us(self) -> int:
        """The average; 0 without any."""
        return round(self.total_us / self.count) if self.count else 0

    def percentile_us(self, percent: float) -> int:
        """The duration that `percent` of all (0 to 100) do not exceed; 0 without any."""
        if not self.count:
            return 0
        if percent >= 100:
            return self.longest_us
        rank = max(percent * self.count / 100, 1)
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= rank - 1e-9:
                return min(_middle_us(index), self.longest_us)
        return self.longest_us


def _middle_us(index: int) -> int:
    if index < EXACT_BELOW:
        return index
    shift = (index >> BITS) - 1
    low_us = (index - (shift << BITS)) << shift
    return low_us + (1 << shift) // 2
