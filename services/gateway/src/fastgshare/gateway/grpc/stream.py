"""`ModelStreamInfer`: requests one after the other on one call, each answered with one message or with its parts.

Answers come in the order of their requests, because callers without ids tell them apart by it; several requests run at
one time all the same. One that is refused costs itself an error message and the stream goes on.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from fastgshare.gateway.grpc import codec
from fastgshare.gateway.grpc.calls import Context, metadata, refusal_of, trace_of
from fastgshare.gateway.grpc.protos.inference_pb2 import ModelInferRequest, ModelStreamInferResponse
from fastgshare.gateway.grpc.service import Inside, find_for_request, time_allowed
from fastgshare.shared.errors import RequestRefused

PARTS_AHEAD = 4

Sender = MemoryObjectSendStream[ModelStreamInferResponse]
Receiver = MemoryObjectReceiveStream[ModelStreamInferResponse]


class StreamService:
    """One call's requests, at most `requests_per_stream` at one time."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside

    async def stream(self, requests: AsyncIterator[ModelInferRequest], context: Context) -> None:
        """Read requests until the caller has no more, and write every answer. Cancelled when the caller leaves."""
        room = self._inside.settings.requests_per_stream
        started: MemoryObjectSendStream[Receiver]
        started, answers = anyio.create_memory_object_stream(max(room - 1, 0))
        given = metadata(context)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read, requests, context, given, started, tasks)
            async for answer in answers:
                async with answer:
                    async for response in answer:
                        await context.write(response)

    async def _read(
        self,
        requests: AsyncIterator[ModelInferRequest],
        context: Context,
        given: dict[str, str],
        started: "MemoryObjectSendStream[Receiver]",
        tasks: TaskGroup,
    ) -> None:
        async with started:
            async for request in requests:
                parts, answer = anyio.create_memory_object_stream[ModelStreamInferResponse](PARTS_AHEAD)
                tasks.start_soon(self._answer, request, context, given, parts)
                await started.send(answer)

    async def _answer(self, request: ModelInferRequest, context: Context, given: dict[str, str], parts: Sender) -> None:
        async with parts:
            try:
                await self._invoke(request, context, given, parts)
            except Exception as fault:  # this request's own, as for a call of its own
                error = refusal_of(fault, f"inference of {request.model_name[:100]}")
                await parts.send(codec.encode_refusal(error, request))

    async def _invoke(self, request: ModelInferRequest, context: Context, given: dict[str, str], parts: Sender) -> None:
        view = await find_for_request(self._inside, request, given)
        deadline_us = time_allowed(self._inside.settings, request, context)
        wants_end = codec.wants_empty_final(request)
        decoded = codec.decode(request)
        replies: Any = self._inside.invoker.invoke_stream(view.spec.name, decoded, deadline_us, trace_of(given))
        async with aclosing(replies):
            async for reply in replies:
                if reply.error is not None:
                    raise RequestRefused(reply.error)
                if reply.more or reply.outputs or wants_end:
                    await parts.send(codec.encode_part(reply, request, view.version))
