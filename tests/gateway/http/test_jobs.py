"""Asynchronous inference over HTTP: what a job looks like on its way, and its result is what `infer` would say."""

import json
from secrets import token_bytes

import numpy as np
import pytest
from msgspec.structs import replace

from fastgshare.gateway.http import BodyBudget
from fastgshare.shared.arrays import to_tensor
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused
from fastgshare.shared.ids import FunctionName, GatewayId
from fastgshare.shared.jobrecords import begun, cancelled, ended, job_id
from fastgshare.shared.messages import (
    INFER_VERSION,
    InferReply,
    InferRequest,
    JobRecord,
    JobState,
    KeptReply,
    ReplyWish,
)
from tests.gateway.http.serving import ECHO, INFER, ROW, FakeInvoker, body_of, knock, serving

ASYNC = f"{INFER}_async"


class FakeJobs:
    """Jobs in a dictionary; `run` ends one as its function would."""

    def __init__(self) -> None:
        self.records: dict[str, JobRecord] = {}
        self.requests: dict[str, InferRequest] = {}
        self.asked: dict[str, object] = {}
        self.fault: Exception | None = None
        self.kept: dict[str, InferReply] = {}

    async def submit(
        self,
        function: FunctionName,
        request: InferRequest,
        *,
        time_us: int,
        traceparent: str,
        address: str,
        wish: ReplyWish,
    ) -> JobRecord:
        if self.fault is not None:
            raise self.fault
        now_us = unix_us()
        job = job_id(function, token_bytes(12))
        self.asked = {"time_us": time_us, "traceparent": traceparent, "address": address}
        self.requests[job] = request
        self.records[job] = JobRecord(
            job=job, function=function, submitted_us=now_us, deadline_us=now_us + time_us, wish=wish
        )
        return self.records[job]

    async def look(self, job: str) -> JobRecord | None:
        return self.records.get(job)

    async def reply(self, record: JobRecord) -> InferReply | None:
        return record.reply if record.kept is None else self.kept[record.kept.name]

    async def cancel(self, job: str) -> JobRecord | None:
        record = self.records.get(job)
        if record is not None:
            self.records[job] = cancelled(record, unix_us()) or record
        return self.records.get(job)

    def run(self, job: str, error: ErrorBody | None = None) -> None:
        running = begun(self.records[job], GatewayId("here"), unix_us())
        assert running is not None
        reply = InferReply(INFER_VERSION, () if error else self.requests[job].inputs, error)
        after = ended(running, reply, unix_us())
        assert after is not None
        self.records[job] = after


async def test_a_job_is_taken_and_its_result_is_the_answer_of_infer() -> None:
    jobs = FakeJobs()
    async with serving(FakeInvoker(), jobs=jobs) as port, knock(port) as door:
        taken = await door.request("POST", ASYNC, body_of(1, 2, 3, 4, id="r-7"), Fast_Result_Address="team.a")
        assert (taken.status, taken.headers["retry-after"]) == (202, "1")
        place = taken.headers["location"]
        job = str(taken.document["id"])
        assert place == f"/v1/jobs/{job}"
        assert taken.document["state"] == "queued"
        assert (jobs.asked["time_us"], jobs.asked["address"]) == (3_600_000_000, "team.a")
        pending = await door.request("GET", f"{place}/result")
        assert (pending.status, pending.document) == (202, taken.document)
        jobs.run(job)
        told = (await door.request("GET", place)).document
        assert (told["state"], told["result"], told["runs"]) == ("done", f"{place}/result", 1)
        answer = await door.request("GET", f"{place}/result")
        direct = await door.request("POST", INFER, body_of(1, 2, 3, 4, id="r-7"))
        assert answer.status == 200
        assert answer.document == direct.document


async def test_a_result_is_binary_where_it_was_asked_for_so() -> None:
    jobs = FakeJobs()
    async with serving(FakeInvoker(), jobs=jobs) as port, knock(port) as door:
        body = body_of(1, 2, 3, 4, parameters={"binary_data_output": True})
        taken = await door.request("POST", ASYNC, body)
        jobs.run(str(taken.document["id"]))
        answer = await door.request("GET", f"{taken.headers['location']}/result")
        length = int(answer.headers["inference-header-content-length"])
        assert json.loads(answer.body[:length])["outputs"][0]["parameters"] == {"binary_data_size": 16}
        assert np.frombuffer(answer.body[length:], np.float32).tolist() == [1, 2, 3, 4]


async def test_a_failed_job_says_why_with_the_status_that_infer_has() -> None:
    jobs = FakeJobs()
    async with serving(FakeInvoker(), jobs=jobs) as port, knock(port) as door:
        taken = await door.request("POST", ASYNC, ROW, Fast_Timeout_Ms="5000", Traceparent="00-ab")
        assert (jobs.asked["time_us"], jobs.asked["traceparent"]) == (5_000_000, "00-ab")
        jobs.run(str(taken.document["id"]), ErrorBody(ErrorCode.MODEL_FAILED, "it broke"))
        place = taken.headers["location"]
        told = (await door.request("GET", place)).document
        assert (told["state"], told["error"], told["code"]) == ("failed", "it broke", "model_failed")
        answer = await door.request("GET", f"{place}/result")
        assert (answer.status, answer.error) == (500, "it broke")


async def test_a_job_is_cancelled() -> None:
    jobs = FakeJobs()
    async with serving(FakeInvoker(), jobs=jobs) as port, knock(port) as door:
        place = (await door.request("POST", ASYNC, ROW)).headers["location"]
        assert (await door.request("DELETE", place)).document["state"] == "cancelled"
        assert (await door.request("GET", f"{place}/result")).status == 499


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/v2/models/nobody/infer_async", ROW, {}, 404),
        ("/v2/models/echo/versions/9/infer_async", ROW, {}, 404),
        ("/v2/models/echo/versions/3/infer_async", ROW, {}, 202),
        (ASYNC, b"{", {}, 400),
        (ASYNC, body_of(1, 2), {}, 400),
        (ASYNC, ROW, {"Fast_Timeout_Ms": "0"}, 400),
        (ASYNC, ROW, {"Fast_Timeout_Ms": "soon"}, 400),
    ],
)
async def test_what_cannot_be_run_is_refused_at_once(
    path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    async with serving(FakeInvoker(), jobs=FakeJobs()) as port, knock(port) as door:
        answer = await door.request("POST", path, body, **headers)
        assert answer.status == status


async def test_a_full_queue_says_when_to_come_back() -> None:
    jobs = FakeJobs()
    jobs.fault = RequestRefused(ErrorBody(ErrorCode.OVERLOADED, "full", 1000))
    async with serving(FakeInvoker(), jobs=jobs) as port, knock(port) as door:
        answer = await door.request("POST", ASYNC, ROW)
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_what_is_no_job_is_not_found(method: str) -> None:
    async with serving(FakeInvoker(), jobs=FakeJobs()) as port, knock(port) as door:
        for job in ("echo." + "0" * 24, "nonsense", "%00", "a" * 300):
            assert (await door.request(method, f"/v1/jobs/{job}")).status == 404


async def test_a_function_that_is_gone_leaves_its_results() -> None:
    jobs, invoker = FakeJobs(), FakeInvoker()
    async with serving(invoker, jobs=jobs) as port, knock(port) as door:
        taken = await door.request("POST", ASYNC, ROW)
        job = str(taken.document["id"])
        jobs.run(job)
        jobs.records[job] = replace(jobs.records[job], wish=ReplyWish())
        del invoker.views[ECHO]
        answer = await door.request("GET", f"{taken.headers['location']}/result")
        assert (answer.status, answer.document["model_name"]) == (200, "echo")


async def test_a_result_that_is_kept_elsewhere_is_fetched_and_held_until_it_was_sent() -> None:
    jobs, budget = FakeJobs(), BodyBudget(40 << 20)
    async with serving(FakeInvoker(), jobs=jobs, budget=budget) as port, knock(port) as door:
        for size_bytes, is_binary in ((3 << 20, False), (9 << 20, True), (30 << 20, True)):
            job = str((await door.request("POST", ASYNC, ROW)).document["id"])
            output = to_tensor("y", np.zeros(size_bytes // 4, np.float32))
            jobs.kept[job] = InferReply(INFER_VERSION, (output,))
            kept = KeptReply(name=job, size_bytes=size_bytes)
            jobs.records[job] = replace(jobs.records[job], state=JobState.DONE, kept=kept)
            answer = await door.request("GET", f"/v1/jobs/{job}/result")
            if 2 * size_bytes > budget.limit_bytes:
                assert (answer.status, answer.headers["retry-after"]) == (503, "1")
                continue
            assert answer.status == 200
            assert ("inference-header-content-length" in answer.headers) is is_binary
            assert answer.body.endswith(bytes(1000)) is is_binary
            assert (await door.request("GET", f"/v1/jobs/{job}")).document["result"] == f"/v1/jobs/{job}/result"
    assert budget.held_bytes == 0


async def test_a_result_that_is_gone_holds_nothing() -> None:
    jobs, budget = FakeJobs(), BodyBudget(10 << 20)
    async with serving(FakeInvoker(), jobs=jobs, budget=budget) as port, knock(port) as door:
        job = str((await door.request("POST", ASYNC, ROW)).document["id"])
        jobs.kept[job] = InferReply(INFER_VERSION, error=ErrorBody(ErrorCode.NOT_FOUND, "gone"))
        kept = KeptReply(name=job, size_bytes=4 << 20)
        jobs.records[job] = replace(jobs.records[job], state=JobState.DONE, kept=kept)
        answers = [await door.request("GET", f"/v1/jobs/{job}/result") for _ in range(2)]
    assert [answer.status for answer in answers] == [404, 404]
    assert budget.held_bytes == 0
