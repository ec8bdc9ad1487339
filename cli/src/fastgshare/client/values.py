"""What callers hand in and get back: numpy arrays by name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fastgshare.shared.arrays import Array, to_array, to_tensor
from fastgshare.shared.ids import AttemptId, ReplicaId
from fastgshare.shared.messages import INFER_VERSION, InferReply, InferRequest, Timing

Value = Array | bytes | str | Sequence[object] | float | bool


@dataclass(frozen=True, slots=True)
class Result:
    """An answer: outputs by name (read-only arrays; BYTES as object arrays of `bytes`), and who gave it."""

    outputs: dict[str, Array]
    replica: ReplicaId | None
    attempt: AttemptId | None
    timing: Timing | None


def to_request(inputs: Mapping[str, Value], outputs: Iterable[str]) -> InferRequest:
    """The request for these inputs. Raises ValueError where numpy's type has no tensor datatype."""
    tensors = tuple(to_tensor(name, as_array(value)) for name, value in inputs.items())
    return InferRequest(INFER_VERSION, tensors, tuple(outputs))


def to_result(reply: InferReply) -> Result:
    """The reply as arrays."""
    arrays = {tensor.name: to_array(tensor) for tensor in reply.outputs}
    return Result(arrays, reply.replica, reply.attempt, reply.timing)


def as_array(value: Value) -> Array:
    """An array as it is; one text or `bytes` as a BYTES tensor of one element; numbers by numpy's rules."""
    if isinstance(value, np.ndarray):
        return value
    elements = [value] if isinstance(value, bytes | str) else value
    if isinstance(elements, Sequence) and any(isinstance(element, bytes | str) for element in elements):
        # numpy's own `S` and `U` types pad with zeros and cut them off again: bytes would not survive.
        array = np.empty(len(elements), dtype=object)
        array[:] = elements
        return array
    numbers: Array = np.array(elements)
    return numbers
