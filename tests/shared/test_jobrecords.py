"""A job's way from one state to the next, whatever happens in whatever order: it ends once, and in time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.ids import FunctionName, GatewayId, JobId
from fastgshare.shared.jobrecords import (
    ENDED,
    MAX_LOSSES,
    as_seen,
    begun,
    cancelled,
    ended,
    function_of,
    is_address,
    job_id,
    put_back,
)
from fastgshare.shared.messages import InferReply, JobRecord, JobState

GATEWAY = GatewayId("gateway-0")
ECHO = FunctionName("echo")
FRESH = JobRecord(job=JobId("echo." + "0" * 24), function=ECHO, submitted_us=100, deadline_us=1000)
ANSWER = InferReply(1)


def refusal(code: ErrorCode) -> InferReply:
    return InferReply(1, error=ErrorBody(code, "no"))


def code_of(record: JobRecord | None) -> str:
    assert record is not None
    assert record.reply is not None
    assert record.reply.error is not None
    return record.reply.error.code


def test_a_job_runs_and_is_done() -> None:
    running = begun(FRESH, GATEWAY, 200)
    assert running is not None
    assert (running.state, running.gateway, running.runs, running.started_us) == (JobState.RUNNING, GATEWAY, 1, 200)
    done = ended(running, ANSWER, 300)
    assert done is not None
    assert (done.state, done.ended_us, done.reply) == (JobState.DONE, 300, ANSWER)


@pytest.mark.parametrize("code", [ErrorCode.OVERLOADED, ErrorCode.UNAVAILABLE, ErrorCode.DEADLINE_EXCEEDED])
def test_where_there_is_no_room_it_waits_until_its_deadline(code: ErrorCode) -> None:
    running = begun(FRESH, GATEWAY, 200)
    assert running is not None
    waiting = ended(running, refusal(code), 300)
    assert waiting is not None
    assert waiting.state is JobState.QUEUED
    late = ended(running, refusal(code), 1000)
    assert late is not None
    assert late.state is JobState.FAILED
    assert code_of(begun(waiting, GATEWAY, 1000)) == ErrorCode.DEADLINE_EXCEEDED
    assert as_seen(waiting, 999) is waiting
    assert code_of(as_seen(waiting, 1000)) == ErrorCode.DEADLINE_EXCEEDED


def test_a_job_that_takes_its_gateways_with_it_is_given_up() -> None:
    record: JobRecord | None = FRESH
    for _ in range(MAX_LOSSES):
        assert record is not None
        record = begun(record, GATEWAY, 200)
        assert record is not None
        assert record.state is JobState.RUNNING
    assert record is not None
    record = begun(record, GATEWAY, 200)
    assert code_of(record) == ErrorCode.UNAVAILABLE


def test_a_job_that_no_replica_outlives_is_given_up() -> None:
    deadly = InferReply(1, error=ErrorBody(ErrorCode.UNAVAILABLE, "lost 4 times with its replica", 1000, 4))
    record, runs = FRESH, 0
    while record.state not in ENDED:
        runs += 1
        running = begun(record, GATEWAY, 200)
        assert running is not None
        after = ended(running, deadly, 300)
        assert after is not None
        record = after
    assert runs == record.losses == MAX_LOSSES
    assert (record.state, record.reply) == (JobState.FAILED, deadly)


def test_a_gateway_that_says_goodbye_is_no_loss() -> None:
    record: JobRecord | None = FRESH
    for _ in range(20):
        assert record is not None
        record = begun(record, GATEWAY, 200)
        assert record is not None
        assert record.losses == 0
        record = put_back(record)


OUTCOMES = {"done": ANSWER, "fail": refusal(ErrorCode.MODEL_FAILED), "refuse": refusal(ErrorCode.OVERLOADED)}
EVENTS = st.sampled_from(["begin", "done", "fail", "refuse", "cancel", "goodbye"])


def happened(record: JobRecord, event: str, now_us: int) -> JobRecord | None:
    match event:
        case "begin":
            return begun(record, GATEWAY, now_us)
        case "cancel":
            return cancelled(record, now_us)
        case "goodbye":
            return put_back(record)
        case _:
            return ended(record, OUTCOMES[event], now_us)


@given(st.lists(EVENTS, max_size=30))
def test_whatever_happens_it_ends_once(events: list[str]) -> None:
    record, now_us = FRESH, 200
    for event in events:
        now_us += 10
        change = happened(record, event, now_us)
        if record.state in ENDED:
            assert change is None
        record = change or record
    assert (record.state in ENDED) == (record.ended_us > 0) == (record.reply is not None)


def test_a_job_names_its_function() -> None:
    assert function_of(job_id(ECHO, b"\xff" * 12)) == "echo"
    for other in ("", "echo", "echo.", "echo.00", "echo." + "0" * 25, "Echo." + "0" * 24, "a.b." + "0" * 24, "*.>"):
        assert function_of(other) is None


def test_an_address_is_made_of_tokens() -> None:
    assert is_address("team.a-1_B")
    for other in ("", ".", "a.", ".a", "a..b", "*", "a.>", "a b", "$JS", "a" * 65, ".".join("a" * 9), "a\n"):
        assert not is_address(other)
