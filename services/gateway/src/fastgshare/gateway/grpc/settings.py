"""What the gRPC front door allows. Every bound is answered by name when it is met."""

import msgspec

from fastgshare.shared.units import US_PER_S


class GrpcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds and defaults of one gRPC front door.

    `max_calls` at one time, of which a stream is one; `requests_per_stream` of a stream run at one time, the next is
    read when one of them has been answered. How large a message is shows only when it has come: until then each call
    may bring one of `max_message_bytes`, so calls are fewer than HTTP's; from then on it counts among the bodies that
    the gateway holds. A message that is not taken `within taken_within_s` ends its stream.
    """

    default_timeout_us: int = 10 * US_PER_S
    max_timeout_us: int = 600 * US_PER_S
    max_message_bytes: int = 64 << 20
    max_calls: int = 256
    requests_per_stream: int = 16
    taken_within_s: float = 20.0
