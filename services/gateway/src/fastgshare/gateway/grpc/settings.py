"""What the gRPC front door allows. Every bound is answered by name when it is met."""

import msgspec
from msgspec.structs import replace

from fastgshare.shared.units import US_PER_S

OPEN_PLACES = 4
OPEN_TIMEOUT_S = 1.0


class GrpcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds and defaults of one gRPC front door.

    How large a message is shows only when it has come, so what is on its way in is bounded by number: as many messages
    of `max_message_bytes` as fit into `max_incoming_bytes`, each waited for at most `message_timeout_s`, and each call
    waits `place_patience_s` at most for its turn. From then on a message counts among the bodies that the gateway
    holds. `max_calls` at one time, of which a stream is one; `requests_per_stream` of a stream run at one time, the
    next is read when one of them has been answered. One that is not taken within `taken_within_s` ends its stream.
    """

    default_timeout_us: int = 10 * US_PER_S
    max_timeout_us: int = 600 * US_PER_S
    max_message_bytes: int = 16 << 20
    max_incoming_bytes: int = 1 << 30
    message_timeout_s: float = 30.0
    place_patience_s: float = 1.0
    max_calls: int = 256
    requests_per_stream: int = 16
    taken_within_s: float = 20.0

    @property
    def places(self) -> int:
        """How many messages may be on their way in at one time."""
        return max(self.max_incoming_bytes // self.max_message_bytes, 1)

    @property
    def streams(self) -> int:
        """How many of them streams may have, whose callers may send at any time: three quarters."""
        return max(self.places * 3 // 4, 1)

    def of_open_calls(self) -> "GrpcSettings":
        """Of calls that need no key, whose messages are small: few places of their own, and none for long."""
        most_bytes = OPEN_PLACES * self.max_message_bytes
        return replace(self, max_incoming_bytes=most_bytes, message_timeout_s=OPEN_TIMEOUT_S)
