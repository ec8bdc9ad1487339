"""A handler that works, and one whose input or output is wrong: each call is told what was expected."""

import os

import anyio
import numpy as np
import pytest

from fastgshare.shared.arrays import array_bytes, to_tensor
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.messages import SlotRef, Tensor
from fastgshare.shared.slots import SlotPool, host_id
from tests.node_manager.handlers.author import ACTOR, Author, act, in_s, method, model_output, refusal, values
from tests.node_manager.processes import on_uvloop, until

NUMBERS = """
class Numbers:
    inputs = [TensorSpec("a", "FP32", (-1,))]
    outputs = [TensorSpec("b", "FP32", (1,))]

    def __init__(self, context): pass

    def preprocess(self, inputs):
        inputs["a"] -= 1  # in place
        return {"x": inputs["a"].reshape(-1, 2)}

    def postprocess(self, outputs):
        return {"b": outputs["y"].sum(axis=1)}
"""


@on_uvloop
async def test_a_request_goes_through_both_stages(author: Author) -> None:
    author.write(NUMBERS)
    async with author.open("Numbers") as handler:
        assert handler.inputs == (TensorSpec("a", "FP32", (-1,)),)
        assert handler.outputs == (TensorSpec("b", "FP32", (1,)),)
        made = await handler.preprocess((to_tensor("a", np.arange(4, dtype=np.float32)),), in_s(20))
        assert values(made) == {"x": [[-1, 0], [1, 2]]}
        assert values(await handler.postprocess(model_output(2.5), in_s(20))) == {"b": [5.0]}
        assert handler.completed == 2


@on_uvloop
async def test_it_knows_its_function_and_its_model(author: Author) -> None:
    author.write(
        ACTOR
        + method("""
        def tell(self):
            raise BadInput(repr((self.context.function, self.context.model_metadata, self.context.model_inputs[0].shape,
                self.context.model_outputs[0].name, (self.context.directory / "labels.txt").read_text(),
                Path("labels.txt").read_text())))
        """),
        files={"labels.txt": "cat"},
    )
    async with author.open() as handler:
        told = refusal(await handler.preprocess(act("tell"), in_s(20)))
        assert told.message == repr(("tested", {"alphabet": "abc"}, (-1, 2), "y", "cat", "cat"))


@on_uvloop
async def test_bad_input_is_the_callers_and_an_exception_the_authors_fault(author: Author) -> None:
    author.write(
        ACTOR
        + method("""
        def refuse(self): raise BadInput("no face in the picture")
        def divide(self): return 1 / 0
        def leave(self): sys.exit("enough")
        """)
    )
    async with author.open() as handler:
        refused = refusal(await handler.preprocess(act("refuse"), in_s(20)))
        assert (refused.code, refused.message) == (ErrorCode.INVALID, "no face in the picture")
        failed = refusal(await handler.preprocess(act("divide"), in_s(20)))
        assert failed.code is ErrorCode.HANDLER_FAILED
        line = author.line_of("return 1 / 0")
        assert failed.message == f"preprocess raised ZeroDivisionError: division by zero (handler.py:{line})"
        left = refusal(await handler.preprocess(act("leave"), in_s(20)))
        assert left.message.startswith("preprocess raised SystemExit: enough (handler.py:")
        await until(lambda: author.logged("ZeroDivisionError"))
        assert values(await handler.preprocess(act("nothing"), in_s(20)))
        assert handler.restarts == 0


RETURNS = {
    "none": ("None", "preprocess returned NoneType, expected a dict of numpy arrays named ['x']"),
    "lists": ("{'x': [1.0, 2.0]}", "preprocess returned list as 'x', expected a numpy array"),
    "other name": (
        "{'z': np.ones((1, 2), np.float32)}",
        "preprocess returned something else than declared: expected model inputs ['x'], missing ['x'], unknown ['z']",
    ),
    "doubles": (
        "{'x': np.ones((1, 2))}",
        "preprocess returned something else than declared: model input 'x' has datatype FP64, expected FP32",
    ),
    "no batch axis": (
        "{'x': np.ones(2, np.float32)}",
        (
            "preprocess returned something else than declared:"
            " model input 'x' has shape [2], expected [-1, 2] (-1: any length)"
        ),
    ),
    "no rows": ("{'x': np.ones((0, 2), np.float32)}", "preprocess returned no rows: {'x': 0}"),
    "no datatype": (
        "{'x': np.ones((1, 2), np.complex128)}",
        "preprocess returned an array that cannot travel: no tensor datatype for numpy complex128",
    ),
}


@pytest.mark.parametrize("case", RETURNS)
@on_uvloop
async def test_what_preprocess_returns_is_held_against_the_model(author: Author, case: str) -> None:
    expression, message = RETURNS[case]
    author.write(NUMBERS.replace('{"x": inputs["a"].reshape(-1, 2)}', expression))
    async with author.open("Numbers") as handler:
        failed = refusal(await handler.preprocess((to_tensor("a", np.ones(2, np.float32)),), in_s(20)))
        assert (failed.code, failed.message) == (ErrorCode.HANDLER_FAILED, message)


@on_uvloop
async def test_what_postprocess_returns_is_held_against_the_declared_outputs(author: Author) -> None:
    author.write(NUMBERS.replace('outputs["y"].sum(axis=1)', 'outputs["y"].sum(axis=1).astype(np.int32)'))
    async with author.open("Numbers") as handler:
        failed = refusal(await handler.postprocess(model_output(), in_s(20)))
        assert failed.message == (
            "postprocess returned something else than declared: output 'b' has datatype INT32, expected FP32"
        )


@on_uvloop
async def test_inputs_that_do_not_fit_the_declaration_never_reach_user_code(author: Author) -> None:
    author.write(NUMBERS)
    async with author.open("Numbers") as handler:
        wrong = refusal(await handler.preprocess((to_tensor("a", np.ones(4, np.int64)),), in_s(20)))
        assert wrong.code is ErrorCode.INVALID
        assert wrong.message == "input 'a' has datatype INT64, expected FP32"


@on_uvloop
async def test_large_inputs_are_read_from_shared_memory(author: Author) -> None:
    author.write(NUMBERS)
    array = np.arange(65536, dtype=np.float32)
    pool = SlotPool(host_id())
    slot = pool.take(array.nbytes)
    assert slot is not None
    slot.write(0, array_bytes(array))
    tensor = Tensor("a", "FP32", array.shape, slot=SlotRef(pool.host, slot.name, 0, array.nbytes))
    async with author.open("Numbers") as handler:
        made = values(await handler.preprocess((tensor,), in_s(20)))
        assert made == {"x": (array - 1).reshape(-1, 2).tolist()}
        pool.abandon(slot)
        gone = refusal(await handler.preprocess((tensor,), in_s(20)))
        assert gone.code is ErrorCode.TENSOR_UNREACHABLE


@on_uvloop
async def test_many_calls_at_once_each_get_their_own_answer(author: Author) -> None:
    author.write(NUMBERS)
    answers: dict[int, dict[str, list[object]]] = {}

    async def ask(number: int) -> None:
        array = np.full(2 + 2 * (number % 50), number, np.float32)
        answers[number] = values(await handler.preprocess((to_tensor("a", array),), in_s(20)))

    async with author.open("Numbers") as handler, anyio.create_task_group() as tasks:
        for number in range(300):
            tasks.start_soon(ask, number)
    assert answers == {n: {"x": [[n - 1, n - 1]] * (1 + n % 50)} for n in range(300)}


@on_uvloop
async def test_user_code_is_confined_to_its_cpus_and_one_thread_and_knows_no_settings(
    author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTGSHARE_NATS_URL", "nats://someone:secret@127.0.0.1")
    author.write(
        ACTOR
        + method("""
        def tell(self):
            import resource
            settings = [name for name in os.environ if name.startswith("FASTGSHARE")]
            raise BadInput(repr((settings, os.environ["OMP_NUM_THREADS"], os.sched_getaffinity(0), sys.stdin.read(),
                resource.getrlimit(resource.RLIMIT_CORE))))
        """)
    )
    cpu = max(os.sched_getaffinity(0))
    async with author.open(cpus={cpu}) as handler:
        told = refusal(await handler.preprocess(act("tell"), in_s(20)))
        assert told.message == repr(([], "1", {cpu}, "", (0, 0)))
