"""A postprocess that yields: parts one by one, streams side by side, and nothing made that nobody wants."""

import anyio
import pytest

from fastgshare.node_manager.worker.handlers import HandlerLimits
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused
from fastgshare.shared.messages import Tensor
from tests.node_manager.handlers.author import Author, in_s, model_output, refusal, values
from tests.node_manager.processes import on_uvloop, until

YIELDS = """
import os
import time

class Yields:
    inputs = [TensorSpec("a", "FP32", (-1,))]
    outputs = [TensorSpec("b", "FP32", (1,))]

    def __init__(self, context): pass

    def preprocess(self, inputs):
        return {"x": inputs["a"].reshape(-1, 2)}

    def postprocess(self, outputs):
        many = int(outputs["y"].max())
        try:
            yield from self.parts(many)
        finally:
            if many == 7:
                time.sleep(3600)

    def parts(self, many):
        for part in range(many):
            if part == 3 and many == 4:
                os._exit(7)
            if part == 2 and many == 5:
                raise ValueError("enough")
            yield {"b": np.array([part], np.float32)} if many != 6 else {"c": 1}
"""


class Caller:
    """Takes parts; `on_part` waits for `go` after the first while it is set."""

    def __init__(self) -> None:
        self.parts: list[list[object]] = []
        self.go: anyio.Event | None = None

    async def on_part(self, tensors: tuple[Tensor, ...]) -> None:
        self.parts.append(values(tensors)["b"])
        if self.go is not None:
            await self.go.wait()


@on_uvloop
async def test_parts_come_in_order_and_the_answer_is_empty(author: Author) -> None:
    author.write(YIELDS)
    async with author.open("Yields") as handler:
        assert handler.streams
        caller = Caller()
        assert await handler.postprocess(model_output(3), in_s(20), caller.on_part) == ()
        assert caller.parts == [[0.0], [1.0], [2.0]]
        assert await handler.postprocess(model_output(0), in_s(20), caller.on_part) == ()


@on_uvloop
async def test_a_slow_caller_holds_up_its_own_stream_alone(author: Author) -> None:
    author.write(YIELDS)
    async with author.open("Yields") as handler, anyio.create_task_group() as tasks:
        slow, fast = Caller(), Caller()
        slow.go = anyio.Event()
        tasks.start_soon(handler.postprocess, model_output(3), in_s(60), slow.on_part)
        await until(lambda: len(slow.parts) == 1)
        assert await handler.postprocess(model_output(100), in_s(60), fast.on_part) == ()
        assert len(fast.parts) == 100
        assert len(slow.parts) == 1
        slow.go.set()
        await until(lambda: len(slow.parts) == 3)


@on_uvloop
async def test_who_leaves_stops_the_stream_between_parts(author: Author) -> None:
    author.write(YIELDS)
    async with author.open("Yields") as handler:
        caller = Caller()
        caller.go = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(handler.postprocess, model_output(1000), in_s(60), caller.on_part)
            await until(lambda: len(caller.parts) == 1)
            tasks.cancel_scope.cancel()
        await until(lambda: not handler._calls._sent)
        assert not handler._answers
        other = Caller()
        assert await handler.postprocess(model_output(2), in_s(20), other.on_part) == ()


@on_uvloop
async def test_a_part_that_cannot_be_sent_ends_the_stream(author: Author) -> None:
    author.write(YIELDS)

    async def refuse(_: tuple[Tensor, ...]) -> None:
        raise RequestRefused(ErrorBody(ErrorCode.TOO_LARGE, "too much"))

    async with author.open("Yields") as handler:
        with pytest.raises(RequestRefused):
            await handler.postprocess(model_output(1000), in_s(20), refuse)
        await until(lambda: not handler._calls._sent)


@on_uvloop
async def test_what_goes_wrong_in_the_middle_is_the_answer(author: Author) -> None:
    author.write(YIELDS)
    async with author.open("Yields") as handler:
        caller = Caller()
        raised = refusal(await handler.postprocess(model_output(5), in_s(20), caller.on_part))
        assert "enough" in raised.message
        wrong = refusal(await handler.postprocess(model_output(6), in_s(20), caller.on_part))
        assert "postprocess returned" in wrong.message
        died = refusal(await handler.postprocess(model_output(4), in_s(20), caller.on_part))
        assert died.code is ErrorCode.HANDLER_FAILED
        assert len(caller.parts) == 2 + 0 + 3
        assert await handler.postprocess(model_output(2), in_s(20), caller.on_part) == ()


@on_uvloop
async def test_a_stream_ends_with_its_deadline(author: Author) -> None:
    author.write(YIELDS)
    async with author.open("Yields") as handler:
        caller = Caller()
        late = refusal(await handler.postprocess(model_output(10**7), in_s(1), caller.on_part))
        assert late.code is ErrorCode.DEADLINE_EXCEEDED
        assert caller.parts
        await until(lambda: not handler._calls._sent)


@on_uvloop
async def test_streams_whose_callers_are_slow_leave_room_for_others(author: Author) -> None:
    author.write(YIELDS)
    limits = HandlerLimits(outstanding=2, streams=8)
    async with author.open("Yields", limits=limits) as handler, anyio.create_task_group() as tasks:
        slow = Caller()
        slow.go = anyio.Event()
        for _ in range(6):
            tasks.start_soon(handler.postprocess, model_output(3), in_s(60), slow.on_part)
        await until(lambda: len(slow.parts) == 6)
        assert await handler.postprocess(model_output(3), in_s(60), Caller().on_part) == ()
        slow.go.set()


@on_uvloop
async def test_a_clean_up_that_hangs_ends_the_process_and_the_next_one_answers(author: Author) -> None:
    author.write(YIELDS)
    async with author.open("Yields", limits=HandlerLimits(hang_s=0.2)) as handler:

        async def leave(_: tuple[Tensor, ...]) -> None:
            raise RequestRefused(ErrorBody(ErrorCode.CANCELLED, "gone"))

        with pytest.raises(RequestRefused):
            await handler.postprocess(model_output(7), in_s(1), leave)
        assert await handler.postprocess(model_output(3), in_s(60), Caller().on_part) == ()
        assert handler.restarts == 1
