"""What was used of devices: what a bill is made of. Kept in a stream; each record counts once, by its id."""

import msgspec

from fastgshare.shared.ids import DeviceId, FunctionName, NodeId


class FunctionUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What one function had of one device.

    SM times are SMs times microseconds: `sm_us` its replicas held, `promised_sm_us` they were promised,
    `profiling_sm_us` went into measuring it, which is no part of `sm_us`. `memory_mib_s` is MiB times seconds, weights
    that replicas share counted once.
    """

    sm_us: int = 0
    promised_sm_us: int = 0
    profiling_sm_us: int = 0
    memory_mib_s: float = 0.0
    requests: int = 0
    batches: int = 0

    def plus(self, other: "FunctionUsage") -> "FunctionUsage":
        """Both."""
        return FunctionUsage(
            sm_us=self.sm_us + other.sm_us,
            promised_sm_us=self.promised_sm_us + other.promised_sm_us,
            profiling_sm_us=self.profiling_sm_us + other.profiling_sm_us,
            memory_mib_s=self.memory_mib_s + other.memory_mib_s,
            requests=self.requests + other.requests,
            batches=self.batches + other.batches,
        )


class UsageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Who had how much of a device from `from_us` until `to_us` (Unix microseconds).

    `sequence` numbers the records of one `incarnation` of the device's node; together with the device they make `id`.
    """

    node: NodeId
    device: DeviceId
    kind: str
    sms: int
    incarnation: str
    sequence: int
    from_us: int
    to_us: int
    functions: dict[FunctionName, FunctionUsage]
    version: int = 1

    @property
    def id(self) -> str:
        """No other record has it: the stream takes one of each, and readers count one of each."""
        return f"{self.device}.{self.incarnation}.{self.sequence}"
