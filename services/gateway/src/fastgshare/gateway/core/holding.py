"""Requests that wait for a replica, by function and in order of arrival; bounded for each."""

from fastgshare.gateway.core.tickets import Ticket
from fastgshare.shared.ids import FunctionName, RequestId


class Holding:
    """At most `limit` requests of each function."""

    __slots__ = ("_held", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[FunctionName, dict[RequestId, Ticket]] = {}

    def functions(self) -> list[FunctionName]:
        """Those that something waits for."""
        return list(self._held)

    def count(self, function: FunctionName) -> int:
        """How many wait."""
        return len(self._held.get(function, ()))

    def is_full(self, function: FunctionName) -> bool:
        """Whether no more may wait."""
        return self.count(function) >= self._limit

    def add(self, ticket: Ticket) -> None:
        """One more waits."""
        self._held.setdefault(ticket.function, {})[ticket.request_id] = ticket

    def remove(self, ticket: Ticket) -> None:
        """It does not wait any more; fine if it did not."""
        held = self._held.get(ticket.function)
        if held is not None and held.pop(ticket.request_id, None) is not None and not held:
            del self._held[ticket.function]

    def take(self, function: FunctionName) -> list[Ticket]:
        """Remove and return all that wait for a function."""
        return list(self._held.pop(function, {}).values())

    def take_expired(self, now_us: int) -> list[Ticket]:
        """Remove and return those whose deadline has passed."""
        return self._take([ticket for ticket in self._all() if ticket.deadline_us <= now_us])

    def take_those_that_may_go(self) -> list[Ticket]:
        """Remove and return those whose callers can send them to another gateway."""
        return self._take([ticket for ticket in self._all() if ticket.notice])

    def _all(self) -> list[Ticket]:
        return [ticket for held in self._held.values() for ticket in held.values()]

    def _take(self, tickets: list[Ticket]) -> list[Ticket]:
        for ticket in tickets:
            self.remove(ticket)
        return tickets
