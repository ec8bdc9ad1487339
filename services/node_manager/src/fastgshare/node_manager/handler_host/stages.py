"""One call of user code: tensors in, tensors out, or an error that says whose fault it was and what was expected."""

import sys
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

from fastgshare.node_manager.core.handler_calls import Stage
from fastgshare.node_manager.handler_host.load import LoadedHandler
from fastgshare.node_manager.handler_host.messages import Call
from fastgshare.node_manager.reasons import MAX_REASON_CHARS, reason_of
from fastgshare.shared.arrays import to_array, to_tensor
from fastgshare.shared.errors import ErrorBody, ErrorCode, SlotInvalid
from fastgshare.shared.handler import BadInput, TensorSpec
from fastgshare.shared.messages import Tensor
from fastgshare.shared.tensors import problem_with_inputs

Outcome = tuple[Tensor, ...] | ErrorBody


class Stream:
    """A postprocess that yields its answer in parts."""

    def __init__(self, generator: "Generator[Any, None, None]") -> None:
        self.generator = generator

    def close(self) -> None:
        """It is not asked for more; what its author's code says to that is only printed."""
        try:
            self.generator.close()
        except BaseException as error:  # sys.exit() too
            traceback.print_exception(error, file=sys.stderr)


class Stages:
    """A handler's two methods behind checks. Nothing that user code raises gets past them."""

    def __init__(
        self,
        loaded: LoadedHandler,
        directory: Path,
        model_inputs: tuple[TensorSpec, ...],
        memory_limit_mib: int,
    ) -> None:
        self._loaded = loaded
        self._directory = directory
        self._model_inputs = model_inputs
        self._memory_limit_mib = memory_limit_mib

    def run(self, call: Call) -> "Outcome | Stream":
        """One stage of one request; of a generator, nothing of it has run yet."""
        if call.stage is Stage.PREPROCESS:
            return self._preprocess(call.tensors)
        return self._postprocess(call.tensors)

    def _preprocess(self, tensors: tuple[Tensor, ...]) -> Outcome:
        problem = problem_with_inputs(tensors, self._loaded.inputs, 0)
        if problem is not None:
            return ErrorBody(ErrorCode.INVALID, problem)
        try:
            arrays = {tensor.name: to_array(tensor) for tensor in tensors}
        except SlotInvalid as error:
            return ErrorBody(ErrorCode.TENSOR_UNREACHABLE, str(error))
        except ValueError as error:
            return ErrorBody(ErrorCode.INVALID, str(error))
        try:
            made = self._loaded.handler.preprocess(arrays)
        except BadInput as error:
            return ErrorBody(ErrorCode.INVALID, str(error)[:MAX_REASON_CHARS] or "the handler refused this input")
        except BaseException as error:  # sys.exit() too
            return self._raised("preprocess", error)
        outcome = _tensors(made, self._model_inputs, "model input")
        if not isinstance(outcome, str):
            outcome = _problem_with_rows(outcome, self._model_inputs) or outcome
        return _answer("preprocess", outcome)

    def step(self, stream: "Stream") -> Outcome | None:
        """A generator's next part, or its error; None: it is through."""
        try:
            made = next(stream.generator)
        except StopIteration:
            return None
        except BaseException as error:  # sys.exit() too
            return self._raised("postprocess", error)
        return _answer("postprocess", _tensors(made, self._loaded.outputs, "output"))

    def _postprocess(self, tensors: tuple[Tensor, ...]) -> "Outcome | Stream":
        try:
            made = self._loaded.handler.postprocess({tensor.name: to_array(tensor) for tensor in tensors})
        except BaseException as error:  # sys.exit() too
            return self._raised("postprocess", error)
        if isinstance(made, Generator) and self._loaded.streams:
            return Stream(made)
        return _answer("postprocess", _tensors(made, self._loaded.outputs, "output"))

    def _raised(self, stage: str, error: BaseException) -> ErrorBody:
        traceback.print_exception(error, file=sys.stderr)
        reason = f"{stage} raised {reason_of(error, self._directory)}"
        if isinstance(error, MemoryError):
            reason += f"; the handler's memory limit is {self._memory_limit_mib} MiB"
        return ErrorBody(ErrorCode.HANDLER_FAILED, reason)


def _tensors(made: object, expected: tuple[TensorSpec, ...], what: str) -> tuple[Tensor, ...] | str:
    """What user code returned, as tensors, or what is wrong with it."""
    if not isinstance(made, dict):
        names = [spec.name for spec in expected]
        return f"{type(made).__name__}, expected a dict of numpy arrays named {names}"
    for name, value in made.items():
        if not isinstance(value, np.ndarray):
            return f"{type(value).__name__} as '{name}', expected a numpy array"
    try:
        tensors = tuple(to_tensor(name, array) for name, array in made.items())
    except ValueError as error:
        return f"an array that cannot travel: {error}"
    problem = problem_with_inputs(tensors, expected, 0, what)
    return tensors if problem is None else f"something else than declared: {problem}"


def _problem_with_rows(tensors: tuple[Tensor, ...], expected: tuple[TensorSpec, ...]) -> str | None:
    batched = {spec.name for spec in expected if spec.shape[:1] == (-1,)}
    rows = {tensor.name: tensor.shape[0] for tensor in tensors if tensor.name in batched}
    if len(set(rows.values())) > 1:
        return f"model inputs of unequal leading (batch) axis: {rows}"
    return f"no rows: {rows}" if 0 in rows.values() else None


def _answer(stage: str, outcome: tuple[Tensor, ...] | str) -> Outcome:
    if isinstance(outcome, str):
        return ErrorBody(ErrorCode.HANDLER_FAILED, f"{stage} returned {outcome}")
    return outcome
