"""Whatever arrives, a caller gets parts of one attempt in order, and then an end or an error."""

from hypothesis import given
from hypothesis import strategies as st

from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.ids import AttemptId, ReplicaId
from fastgshare.shared.messages import INFER_VERSION, InferReply
from fastgshare.shared.parts import PartOrder, whole


def part(number: int, attempt: int = 1, replica: str = "a", *, more: bool = True) -> InferReply:
    return InferReply(
        INFER_VERSION, replica=ReplicaId(replica), attempt=AttemptId(f"r.{attempt}"), part=number, more=more
    )


ARRIVING = st.builds(part, st.integers(0, 4), st.integers(1, 2), st.sampled_from(["a", "b"]), more=st.booleans())


@given(st.lists(ARRIVING, max_size=20))
def test_parts_of_one_source_in_order_until_the_end(arriving: list[InferReply]) -> None:
    order, got = PartOrder(), []
    for reply in arriving:
        taken = order.take(reply)
        if taken is not None:
            got.append(taken)
            if not taken.more:
                break
    told = [reply for reply in got if reply.error is None]
    assert [reply.part for reply in told] == list(range(len(told)))
    assert len({(reply.replica, reply.attempt) for reply in told}) <= 1
    assert all(reply.more for reply in got[:-1])


def test_a_run_elsewhere_after_a_loss_ends_the_stream() -> None:
    order = PartOrder()
    assert order.take(part(0)) is not None
    assert order.take(part(0, replica="b")) is None, "another gateway's run of the same request"
    ended = order.take(part(0, 2, "b"))
    assert ended is not None
    assert ended.error is not None
    assert ended.error.message == (
        "the stream broke off after 1 parts: its replica or the bus was lost, and it was begun anew; "
        "call again for the whole answer"
    )


def test_a_part_that_is_missing_ends_the_stream() -> None:
    order = PartOrder()
    assert order.take(part(0)) is not None
    assert order.take(part(0)) is None, "it came twice"
    ended = order.take(part(2))
    assert ended is not None
    assert ended.error is not None
    assert ended.error.code is ErrorCode.UNAVAILABLE


def test_a_gateways_refusal_is_passed_on() -> None:
    refused = InferReply(INFER_VERSION, error=ErrorBody(ErrorCode.OVERLOADED, "too much"))
    assert PartOrder().take(refused) is refused


def test_who_takes_one_answer_gets_no_part() -> None:
    answer = part(0, more=False)
    assert whole(answer) is answer
    for piece in (part(0), part(3, more=False)):
        error = whole(piece).error
        assert error is not None
        assert error.code is ErrorCode.INVALID
