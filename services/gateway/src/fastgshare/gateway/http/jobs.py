"""Inference whose answer is fetched later: `POST .../infer_async` gives a job, `/v1/jobs/{id}` tells of it.

The body is that of `infer`, and so is the result, whenever it is fetched. A job's id is a secret between the caller
and the platform: who knows it may fetch the result and cancel the job.
"""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from fastgshare.gateway.http.body import BodyBudget, Hold, number_in
from fastgshare.gateway.http.connection import connection_of
from fastgshare.gateway.http.errors import HttpRefused
from fastgshare.gateway.http.infer import HEADER_LENGTH, TIMEOUT_MS, InferRoute, find_function
from fastgshare.gateway.http.responses import JsonResponse, refusal_response, route
from fastgshare.gateway.oip import DecodedRequest, EncodedReply, encode_reply
from fastgshare.gateway.ports import Invoker, Jobs
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused
from fastgshare.shared.ids import FunctionName, JobId
from fastgshare.shared.jobrecords import DEFAULT_TIME_US, job_path, result_path
from fastgshare.shared.messages import INFER_VERSION, InferReply, InferRequest, JobRecord, JobState, ReplyWish
from fastgshare.shared.tensors import problem_with_inputs
from fastgshare.shared.tracing import TRACEPARENT
from fastgshare.shared.units import US_PER_MS

ADDRESS = "fast-result-address"
_LOOK_AGAIN = {"retry-after": "1"}
MOST_JSON_BYTES = 8 << 20
_UNFINISHED = (JobState.QUEUED, JobState.RUNNING)


class JobDocument(msgspec.Struct, omit_defaults=True):
    """A job as it is told over HTTP; times in Unix milliseconds. `result` is where the answer is once it is done."""

    id: JobId
    function: FunctionName
    state: JobState
    submitted_ms: int
    deadline_ms: int
    runs: int = 0
    started_ms: int | None = None
    ended_ms: int | None = None
    error: str | None = None
    code: ErrorCode | None = None
    result: str | None = None


class HeldResponse(Response):
    """An answer that counts among the bodies that are held until it was sent."""

    def __init__(self, encoded: EncodedReply, hold: Hold) -> None:
        length = {} if encoded.json_bytes is None else {HEADER_LENGTH.decode(): str(encoded.json_bytes)}
        media_type = "application/json" if encoded.json_bytes is None else "application/octet-stream"
        super().__init__(b"".join(encoded.chunks), headers=length, media_type=media_type)
        self._hold = hold

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._hold.release()


class JobRoutes:
    """Submits, tells of, answers and cancels jobs."""

    def __init__(self, invoker: Invoker, jobs: Jobs, infer: InferRoute, budget: BodyBudget) -> None:
        self._invoker = invoker
        self._jobs = jobs
        self._infer = infer
        self._budget = budget

    def routes(self) -> list[Route]:
        """Every route."""
        model = "/v2/models/{name}"
        return [
            route(model + "/infer_async", POST=self.submit),
            route(model + "/versions/{version}/infer_async", POST=self.submit),
            route("/v1/jobs/{id}", GET=self.show, DELETE=self.cancel),
            route("/v1/jobs/{id}/result", GET=self.result),
        ]

    async def submit(self, request: Request) -> Response:
        """Queue an inference."""
        name = request.path_params["name"]
        if self._invoker.describe(FunctionName(name)) is None:
            await self._invoker.wait_for(FunctionName(name))
        view = find_function(self._invoker, name, request.path_params.get("version"))
        headers = dict(request.headers.raw)
        time_ms = number_in(headers, TIMEOUT_MS)
        if time_ms == 0:
            raise HttpRefused(400, "header fast-timeout-ms is 0, expected at least 1")
        hold = Hold(self._budget)
        try:
            body = await self._infer.read(request.receive, headers, connection_of(request.scope), hold)
            decoded = self._infer.decode(body, headers)
            if view.signature is not None:
                max_batch = view.spec.max_batch if view.signature.batched else 0
                problem = problem_with_inputs(decoded.request.inputs, view.signature.inputs, max_batch)
                if problem is not None:
                    raise RequestRefused(ErrorBody(ErrorCode.INVALID, f"function '{name}': {problem}"))
            asked_us = time_ms * US_PER_MS if time_ms is not None else decoded.timeout_us
            record = await self._jobs.submit(
                view.spec.name,
                decoded.request,
                time_us=asked_us or DEFAULT_TIME_US,
                traceparent=request.headers.get(TRACEPARENT, ""),
                address=request.headers.get(ADDRESS, ""),
                wish=_wish(decoded),
            )
        finally:
            hold.release()
        return JsonResponse(job_document(record), 202, {"location": job_path(record.job), **_LOOK_AGAIN})

    async def show(self, request: Request) -> Response:
        """How far a job is."""
        record = await self._find(request)
        return JsonResponse(job_document(record), 200, _LOOK_AGAIN if record.state in _UNFINISHED else None)

    async def result(self, request: Request) -> Response:
        """The answer as `infer` would have given it; while there is none, how far the job is (202)."""
        record = await self._find(request)
        with Hold(self._budget) as hold:
            if record.kept is not None:
                hold.grow(2 * record.kept.size_bytes)  # as it is stored, and as it is told
            reply = await self._jobs.reply(record)
            if record.state in _UNFINISHED or reply is None:
                return JsonResponse(job_document(record), 202, _LOOK_AGAIN)
            if reply.error is not None:
                return refusal_response(reply.error)
            return HeldResponse(self._encoded(record, reply), hold.passed_on())

    def _encoded(self, record: JobRecord, reply: InferReply) -> EncodedReply:
        """As its caller wished; as binary data where writing numbers out would hold up everybody else."""
        wish, request = record.wish, InferRequest(INFER_VERSION, ())
        asked = DecodedRequest(request, wish.request_id, 0, wish.binary_by_default, wish.binary)
        if sum(tensor.size_bytes for tensor in reply.outputs) > MOST_JSON_BYTES:
            asked = DecodedRequest(request, wish.request_id, 0, binary_by_default=True)
        view = self._invoker.describe(record.function)
        return encode_reply(reply, record.function, view.version if view is not None else "", asked)

    async def cancel(self, request: Request) -> Response:
        """End a job that has not ended; its state tells whether it was in time. If not, a large result is forgotten."""
        record = await self._jobs.cancel(request.path_params["id"])
        if record is None:
            raise _unknown(request)
        return JsonResponse(job_document(record))

    async def _find(self, request: Request) -> JobRecord:
        record = await self._jobs.look(request.path_params["id"])
        if record is None:
            raise _unknown(request)
        return record


def job_document(record: JobRecord) -> JobDocument:
    """A job's record as it is told over HTTP."""
    error = record.reply.error if record.reply is not None else None
    return JobDocument(
        id=record.job,
        function=record.function,
        state=record.state,
        submitted_ms=record.submitted_us // US_PER_MS,
        deadline_ms=record.deadline_us // US_PER_MS,
        runs=record.runs,
        started_ms=record.started_us // US_PER_MS or None,
        ended_ms=record.ended_us // US_PER_MS or None,
        error=error.message if error is not None else None,
        code=error.code if error is not None else None,
        result=result_path(record.job) if record.state is JobState.DONE else None,
    )


def _wish(decoded: DecodedRequest) -> ReplyWish:
    return ReplyWish(request_id=decoded.request_id, binary_by_default=decoded.binary_by_default, binary=decoded.binary)


def _unknown(request: Request) -> RequestRefused:
    message = f"no job is called {request.path_params['id'][:100]!r}; results are kept for a day"
    return RequestRefused(ErrorBody(ErrorCode.NOT_FOUND, message))
