"""Every request that is neither answered nor refused yet, by id, and the memory that their payloads take.

Ids that were answered a moment ago are remembered too: a caller's second send may cross the answer to the first.
"""

from fastgshare.gateway.core.tickets import Ticket
from fastgshare.shared.ids import RequestId

ANSWERED_LIMIT = 16_384


class Ledger:
    """The open tickets. A payload is kept until its request's last word, to dispatch it again."""

    __slots__ = ("_answered", "_tickets", "payload_bytes")

    def __init__(self) -> None:
        self.payload_bytes = 0
        self._answered: dict[RequestId, None] = {}
        self._tickets: dict[RequestId, Ticket] = {}

    def __len__(self) -> int:
        return len(self._tickets)

    def get(self, request_id: RequestId) -> Ticket | None:
        """The open ticket of this request."""
        return self._tickets.get(request_id)

    def open(self, ticket: Ticket) -> None:
        """Keep a ticket; fine if it is open already."""
        if ticket.request_id not in self._tickets:
            self._tickets[ticket.request_id] = ticket
            self.payload_bytes += len(ticket.payload)

    def close(self, request_id: RequestId) -> Ticket | None:
        """Let go of a ticket; None if it is not open."""
        ticket = self._tickets.pop(request_id, None)
        if ticket is not None:
            self.payload_bytes -= len(ticket.payload)
        return ticket

    def remember_answered(self, request_id: RequestId) -> None:
        """This request was answered; the oldest of many are forgotten."""
        self._answered[request_id] = None
        if len(self._answered) > ANSWERED_LIMIT:
            del self._answered[next(iter(self._answered))]

    def was_answered(self, request_id: RequestId) -> bool:
        """Whether it is known to have been answered."""
        return request_id in self._answered

    def forget_answered(self) -> None:
        """Answers may have been lost: who sends again is served again."""
        self._answered.clear()

    def overdue(self, before_us: int) -> list[Ticket]:
        """Tickets whose deadline was before `before_us`."""
        return [ticket for ticket in self._tickets.values() if ticket.deadline_us < before_us]
