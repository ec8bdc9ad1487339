"""Every request that is neither answered nor refused yet, by id, and the memory that their payloads take.

A request that was answered is forgotten: whoever sends it again did not get the answer.
"""

import math

from fastgshare.gateway.core.tickets import Ticket
from fastgshare.shared.ids import RequestId


class Ledger:
    """The open tickets by request. A payload is kept until its request's last word, to dispatch it again."""

    __slots__ = ("_earliest_us", "payload_bytes", "tickets")

    def __init__(self) -> None:
        self.payload_bytes = 0
        self.tickets: dict[RequestId, Ticket] = {}
        self._earliest_us: float = math.inf  # no open ticket has an earlier deadline

    def __len__(self) -> int:
        return len(self.tickets)

    def get(self, request_id: RequestId) -> Ticket | None:
        """The open ticket of this request."""
        return self.tickets.get(request_id)

    def open(self, ticket: Ticket) -> None:
        """Keep a ticket; fine if it is open already."""
        request_id, tickets = ticket.request_id, self.tickets
        if request_id not in tickets:
            tickets[request_id] = ticket
            self.payload_bytes += len(ticket.payload)
            if ticket.deadline_us < self._earliest_us:
                self._earliest_us = ticket.deadline_us

    def close(self, request_id: RequestId) -> Ticket | None:
        """Let go of a ticket; None if it is not open."""
        ticket = self.tickets.pop(request_id, None)
        if ticket is not None:
            self.payload_bytes -= len(ticket.payload)
        return ticket

    def overdue(self, before_us: int) -> list[Ticket]:
        """Tickets whose deadline was before `before_us`. Asked often: it looks only where there may be some."""
        if before_us <= self._earliest_us:
            return []
        tickets = self.tickets.values()
        self._earliest_us = min((ticket.deadline_us for ticket in tickets), default=math.inf)
        return [ticket for ticket in tickets if ticket.deadline_us < before_us]
