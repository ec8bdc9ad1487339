"""Events told as decisions: one line each with its reason, newest first. Pure.

What handlers print and what only repeats the state of a replica is left out.
"""

from bisect import insort

from fastgshare.shared.messages import Event
from fastgshare.shared.overview.view import DECISIONS, Decision

CHATTER = ("log", "replica_loading", "replica_ready", "replica_draining")
TEXT_AT_MOST = 500
LOANS = ("slice_lent", "slice_returned")


def to_decision(event: Event) -> Decision | None:
    """The event in a line; None where it is not worth one."""
    if event.kind in CHATTER:
        return None
    text = f"{_about(event)}: {event.text}" if event.text and _about(event) else event.text or _about(event)
    if not text:
        text = " ".join(f"{name} {value}" for name, value in event.fields.items())
    return Decision(
        at_us=event.at_us,
        kind=event.kind,
        function=event.function,
        text=text[:TEXT_AT_MOST],
        source=event.source,
    )


def _about(event: Event) -> str:
    """Which replica, device or node it is about, where its text need not say. What a loan is called says nothing."""
    replica, device, node = (str(event.fields.get(name, "")) for name in ("replica", "device", "node"))
    if event.kind in LOANS:
        replica = ""
    where = device or node
    return f"{replica} on {where}" if replica and where else replica or where


class Decisions:
    """The newest of them, each once however often it was heard."""

    def __init__(self) -> None:
        self._oldest_first: list[Decision] = []

    def add(self, event: Event) -> None:
        """Take in an event, in any order."""
        decision = to_decision(event)
        if decision is None or decision in self._oldest_first:
            return
        insort(self._oldest_first, decision, key=lambda known: known.at_us)
        del self._oldest_first[:-DECISIONS]

    def newest_first(self) -> tuple[Decision, ...]:
        """Those that are kept."""
        return tuple(reversed(self._oldest_first))
