"""New identifiers: chance lives here, so that cores cannot reach for it by importing the id types."""

import secrets

from fastgshare.shared.ids import RequestId


def new_request_id() -> RequestId:
    """64 random bits as 16 hex digits: unique among the requests alive at one time."""
    return RequestId(secrets.token_hex(8))


def new_incarnation() -> str:
    """Tells one life of a process from the next."""
    return secrets.token_hex(4)
