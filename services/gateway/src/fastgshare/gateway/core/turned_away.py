"""Requests that a door turned away before they were anybody's to serve, counted by door and code. Pure.

The gatekeeper counts by function every request that it decides on. What never comes that far (a key that may not, a
body that is too large, too many at once, a function that nobody knows) has no function to be counted under, for names
of callers' choosing would be labels without end; so it counts here. Doors and codes are few and fixed.
"""

from fastgshare.shared.errors import ErrorCode

HTTP_DOOR, GRPC_DOOR, NATS_DOOR = "http", "grpc", "nats"


class TurnedAway:
    """One for a gateway; every door counts here."""

    def __init__(self) -> None:
        self.counted: dict[tuple[str, str], int] = {}

    def count(self, door: str, code: ErrorCode) -> None:
        """One more."""
        key = (door, code.value)
        self.counted[key] = self.counted.get(key, 0) + 1
