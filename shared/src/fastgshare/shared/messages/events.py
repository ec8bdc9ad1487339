"""What happened, in the past tense, for people, journals and tests. Hints, never the truth."""

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One fact: `kind` (such as `replica_ready`), who says so, when, about which function, and plain fields."""

    kind: str
    source: str
    at_us: int
    function: str = ""
    text: str = ""
    fields: dict[str, str | int | float] = {}
    version: int = 1


class ServiceReady(msgspec.Struct, frozen=True, kw_only=True):
    """A service's answer to a ping: who it is, which process, and where it listens (empty: only the bus)."""

    service: str
    instance: str
    pid: int
    endpoints: dict[str, str] = {}
    rss_mib: float = 0.0
    version: int = 1
