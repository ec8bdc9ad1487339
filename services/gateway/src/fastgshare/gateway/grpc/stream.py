"""`ModelStreamInfer`: requests one after the other on one call, each answered with one message or with its parts.

Answers come in the order of their requests, because callers without ids tell them apart by it; several requests run at
one time all the same. One that is refused costs itself an error message and the stream goes on.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import anyio
from anyio.abc import TaskGroup

from fastgshare.gateway.grpc import codec
from fastgshare.gateway.grpc.calls import STREAM_DOOR, Context, metadata, refusal_of, trace_of
from fastgshare.gateway.grpc.incoming import Incoming, Place, message_in
from fastgshare.gateway.grpc.protos.inference_pb2 import ModelInferRequest, ModelStreamInferResponse
from fastgshare.gateway.grpc.refusals import STATUS, trailers
from fastgshare.gateway.grpc.service import Inside, counted, decoded, find_for_request, time_allowed
from fastgshare.gateway.http.body import Hold
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused

PARTS_AHEAD = 4
LAST_WORDS_S = 1.0

Answer = asyncio.Queue[ModelStreamInferResponse | None]
"""The parts of one request's answer; None is its end."""


class StreamService:
    """One call's requests, at most `requests_per_stream` at one time and one that waits for its turn."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside

    async def stream(self, requests: AsyncIterator[Incoming], place: Place, context: Context) -> None:
        """Read requests until the caller has no more, and write every answer. Cancelled when the caller leaves.

        `place` is where requests come in, given back once there are no more.
        """
        answers: asyncio.Queue[Answer | None] = asyncio.Queue(max(self._inside.settings.requests_per_stream - 1, 1))
        given = metadata(context)
        within_s = self._inside.settings.taken_within_s
        loop = asyncio.get_running_loop()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read, requests, place, context, given, answers, tasks)
            while (answer := await answers.get()) is not None:
                while (response := await answer.get()) is not None:
                    patience = loop.call_later(within_s, tasks.cancel_scope.cancel)
                    try:
                        await context.write(response)
                    finally:
                        patience.cancel()
        if tasks.cancel_scope.cancel_called:
            error = ErrorBody(ErrorCode.OVERLOADED, f"a part of the answer was not taken within {within_s:g} s")
            with anyio.move_on_after(LAST_WORDS_S):  # they wait behind what is not taken
                await context.abort(STATUS[error.code], error.message, trailers(error))
            raise asyncio.CancelledError  # what makes grpc let go of a call without another word

    async def _read(
        self,
        requests: AsyncIterator[Incoming],
        place: Place,
        context: Context,
        given: dict[str, str],
        answers: "asyncio.Queue[Answer | None]",
        tasks: TaskGroup,
    ) -> None:
        async for incoming in requests:
            answer: Answer = asyncio.Queue(PARTS_AHEAD)
            tasks.start_soon(self._answer, incoming, context, given, answer)
            await answers.put(answer)
        place.give_back()
        await answers.put(None)

    async def _answer(self, incoming: Incoming, context: Context, given: dict[str, str], answer: Answer) -> None:
        request = incoming.message if incoming.message is not None else ModelInferRequest()
        try:
            with Hold(self._inside.budget) as hold:
                with counted(self._inside):
                    message_in(incoming, hold)
                await self._invoke(request, context, given, answer)
        except Exception as fault:  # this request's own, as for a call of its own
            error = refusal_of(fault, f"inference of {request.model_name[:100]}")
            await answer.put(codec.encode_refusal(error, request))
        await answer.put(None)

    async def _invoke(
        self, request: ModelInferRequest, context: Context, given: dict[str, str], answer: Answer
    ) -> None:
        view = await find_for_request(self._inside, request, given)
        deadline_us = time_allowed(self._inside, request, context)
        wants_end = codec.wants_empty_final(request)
        asked = decoded(self._inside, request)
        trace = trace_of(self._inside.sampler, given)
        replies: Any = self._inside.invoker.invoke_stream(view.spec.name, asked, deadline_us, trace, STREAM_DOOR)
        async with aclosing(replies):
            async for reply in replies:
                if reply.error is not None:
                    raise RequestRefused(reply.error)
                if reply.more or reply.outputs or wants_end:
                    await answer.put(codec.encode_part(reply, request, view.version))
