"""New identifiers: chance lives here, so that cores cannot reach for it by importing the id types.

They must be unique, not secret, so the fast generator will do (seeded from the system at import).
"""

import random

from fastgshare.shared.ids import RequestId


def new_request_id() -> RequestId:
    """64 random bits as 16 hex digits: unique among the requests alive at one time."""
    return RequestId(f"{random.getrandbits(64):016x}")


def new_incarnation() -> str:
    """Tells one life of a process from the next."""
    return f"{random.getrandbits(32):08x}"
