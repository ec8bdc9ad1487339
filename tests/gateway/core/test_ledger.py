"""The open tickets: who is overdue is found although the ledger looks only where there may be somebody."""

from hypothesis import given
from hypothesis import strategies as st

from fastgshare.gateway.core.ledger import Ledger
from fastgshare.gateway.core.tickets import Ticket
from fastgshare.shared.ids import FunctionName, RequestId

Steps = list[tuple[str, int]]


def ticket(number: int, deadline_us: int) -> Ticket:
    """A request with so much of a deadline."""
    return Ticket(RequestId(str(number)), FunctionName("f"), b"", "", deadline_us, "", 0)


@given(st.lists(st.tuples(st.sampled_from(["open", "close", "look"]), st.integers(0, 20)), max_size=60))
def test_overdue_tickets_are_those_of_a_plain_search(steps: Steps) -> None:
    ledger = Ledger()
    open_: dict[str, int] = {}
    for number, (step, value) in enumerate(steps):
        if step == "open":
            ledger.open(ticket(number, value))
            open_[str(number)] = value
        elif step == "close" and open_:
            gone = sorted(open_)[value % len(open_)]
            ledger.close(RequestId(gone))
            del open_[gone]
        elif step == "look":
            overdue = [each.request_id for each in ledger.overdue(value)]
            assert overdue == [name for name, deadline_us in open_.items() if deadline_us < value]
    assert len(ledger) == len(open_)
