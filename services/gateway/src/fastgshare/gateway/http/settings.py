"""What the HTTP front door allows. Every bound is answered by name when it is met."""

import tempfile

import msgspec

from fastgshare.shared.telemetry.sampling import DEFAULT_RATIO
from fastgshare.shared.units import US_PER_S


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds and defaults of one HTTP front door.

    `max_json_bytes` is lower than `max_body_bytes` because JSON is decoded on the event loop, while every other
    request waits; binary tensors are only passed on. `max_bodies_bytes` bounds all bodies in memory at one time.
    An event of a stream that is not taken within `taken_within_s` ends its connection.
    """

    gateway: str = "gateway"
    default_timeout_us: int = 10 * US_PER_S
    max_timeout_us: int = 600 * US_PER_S
    max_body_bytes: int = 64 << 20
    max_json_bytes: int = 8 << 20
    max_bodies_bytes: int = 256 << 20
    max_document_bytes: int = 1 << 20
    max_model_bytes: int = 2 << 30
    max_uploads: int = 4
    body_timeout_s: float = 30.0
    upload_directory: str = tempfile.gettempdir()
    taken_within_s: float = 20.0
    trace_ratio: float = DEFAULT_RATIO
