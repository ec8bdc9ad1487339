"""The units of the platform: time in integer microseconds, memory in MiB, time shares in parts per thousand."""

US_PER_MS = 1_000
US_PER_S = 1_000_000
NS_PER_US = 1_000
BYTES_PER_MIB = 1 << 20
BYTES_PER_KIB = 1 << 10
PER_MILLE = 1_000


def s_to_us(seconds: float) -> int:
    """Seconds to whole microseconds."""
    return round(seconds * US_PER_S)


def ms_to_us(milliseconds: float) -> int:
    """Milliseconds to whole microseconds."""
    return round(milliseconds * US_PER_MS)


def us_to_s(microseconds: int) -> float:
    """Microseconds to seconds."""
    return microseconds / US_PER_S


def us_to_ms(microseconds: float) -> float:
    """Microseconds to milliseconds."""
    return microseconds / US_PER_MS
