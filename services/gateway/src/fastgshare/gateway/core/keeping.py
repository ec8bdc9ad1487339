"""Which requests' traces a gateway keeps: those that are sampled, and those that missed their objective.

Decided at a request's end, so that everybody else costs one look at the objective. A record is made only of what is
kept, and only where the backlog has room, of which samples take a quarter at most.
"""

from fastgshare.gateway.core.fleet import Fleet
from fastgshare.gateway.core.tickets import Ticket
from fastgshare.shared.ids import DeviceId, GatewayId, NodeId
from fastgshare.shared.messages import RequestTrace, Timing, TracedAttempt
from fastgshare.shared.objective import is_met
from fastgshare.shared.telemetry.spans_backlog import Backlog

ANSWERED = "answered"
_TRACE_ID = slice(3, 35)
_SPAN_ID = slice(36, 52)
_SAMPLED = "1"


class Keeper:
    """Watches the ends of requests (`Gatekeeper.watch`); `backlog` holds what is to be told of them."""

    def __init__(self, gateway: GatewayId, fleet: Fleet, backlog: Backlog[RequestTrace]) -> None:
        self.backlog = backlog
        self._gateway = gateway
        self._fleet = fleet

    def ended(self, ticket: Ticket, code: str, end_us: int, timing: Timing | None) -> None:
        """A request's end, as `Watch` says."""
        is_sampled = ticket.traceparent[-1:] == _SAMPLED
        answered_us = ticket.answered_us(end_us, timing)
        met = is_met(code, answered_us, ticket.objective_us, ticket.deadline_us)
        missed = met is False
        if not (is_sampled or missed) or not ticket.traceparent or not self.backlog.has_room(missed):
            return
        record = RequestTrace(
            trace_id=ticket.traceparent[_TRACE_ID],
            span_id=ticket.traceparent[_SPAN_ID],
            parent_id=ticket.parent_span,
            request=ticket.request_id,
            function=ticket.function,
            gateway=self._gateway,
            door=ticket.came_by,
            is_sampled=is_sampled,
            is_met=met,
            outcome=code or ANSWERED,
            arrived_us=ticket.arrived_us,
            end_us=max(end_us, ticket.arrived_us),
            objective_us=ticket.objective_us,
            deadline_us=ticket.deadline_us,
            held_us=ticket.held_us,
            rows=ticket.rows,
            attempts=self._attempts(ticket, code, end_us),
            timing=timing,
            first_us=answered_us if answered_us != end_us else 0,
        )
        self.backlog.put(record)

    def _attempts(self, ticket: Ticket, code: str, end_us: int) -> tuple[TracedAttempt, ...]:
        """Those that were lost, and the last if the request had not come back from it already."""
        if ticket.latest is None or ticket.replica is None or _is_lost(ticket):
            return ticket.lost
        return (*ticket.lost, traced(ticket, self._fleet, lost_us=0))


def traced(ticket: Ticket, fleet: Fleet, lost_us: int) -> TracedAttempt:
    """The ticket's latest attempt; it must have one."""
    assert ticket.latest is not None
    assert ticket.replica is not None
    target = fleet.targets.get(ticket.replica)
    return TracedAttempt(
        attempt=ticket.latest,
        replica=ticket.replica,
        node=target.status.node if target is not None else NodeId(""),
        device=target.status.device if target is not None else DeviceId(""),
        sent_us=ticket.left_us or ticket.dispatched_us,
        lost_us=lost_us,
    )


def _is_lost(ticket: Ticket) -> bool:
    return bool(ticket.lost) and ticket.lost[-1].attempt == ticket.latest
