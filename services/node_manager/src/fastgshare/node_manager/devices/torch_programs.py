"""Files that `torch.export.save` wrote: a program with its weights and, in its graph, the signature.

Axes that were exported as dynamic are free. The file's weights are read into memory, not mapped.
"""

import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.ports import ModelInfo, StoredModel
from fastgshare.shared.arrays import DTYPES
from fastgshare.shared.handler import TensorSpec

if TYPE_CHECKING:
    import torch

_HOST = "cpu"


def load_program(model: StoredModel, device: str) -> "tuple[torch.nn.Module, ModelInfo]":
    """The program as a module that takes its inputs by position. Raises ModelFault."""
    import torch
    from torch.export.passes import move_to_device_pass

    if not zipfile.is_zipfile(model.path):  # torch would write a page into the log before it raises
        raise ModelFault(reason="it is no file that torch.export.save wrote: it is no archive")
    try:
        with model.path.open("rb") as file:  # of a path, torch wants the suffix
            program = torch.export.load(file)
        if device != _HOST:
            program = move_to_device_pass(program, device)
        info = _signature(program)
        return _by_position(program), info
    except ModelFault:
        raise
    except Exception as error:  # every layer under it raises what it likes
        raise ModelFault(reason=f"it is no file that torch.export.load can read: {error}") from error


def _by_position(program: "torch.export.ExportedProgram") -> "torch.nn.Module":
    """The program's module, whose own `forward` insists on the keywords that it was exported with."""
    import torch

    inner = program.module()
    positional, by_keyword = (program.call_spec.in_spec.child(index) for index in (0, 1))
    names = list(by_keyword.context)
    if positional.num_children + len(names) != len(program.graph_signature.user_inputs):
        raise ModelFault(reason="its inputs are lists or dicts of tensors, expected each tensor to be one of its own")
    if not names:
        return inner

    class ByPosition(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, *tensors: Any) -> Any:
            first = len(tensors) - len(names)
            return self.inner(*tensors[:first], **dict(zip(names, tensors[first:], strict=True)))

    return ByPosition()


def _signature(program: "torch.export.ExportedProgram") -> ModelInfo:
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    inputs = [_spec(str(name), values.get(str(name))) for name in program.graph_signature.user_inputs]
    results = [values.get(str(name)) for name in program.graph_signature.user_outputs]
    names = list(_output_names(program.call_spec.out_spec, len(results)))
    outputs = [_spec(name, value) for name, value in zip(names, results, strict=True)]
    return ModelInfo(inputs=tuple(inputs), outputs=tuple(outputs), metadata={})


def _output_names(returned: Any, count: int) -> Iterator[str]:
    """A dict's keys; else `output`, or `output_0` and so on: names of nodes in a graph mean nothing to anyone."""
    if returned is not None and returned.type is dict:
        yield from map(str, returned.context)
    elif count == 1:
        yield "output"
    else:
        yield from (f"output_{index}" for index in range(count))


def _spec(name: str, value: Any) -> TensorSpec:
    import torch

    if not isinstance(value, torch.Tensor):
        raise ModelFault(reason=f"'{name}' is no tensor, expected tensors alone as inputs and outputs")
    datatype = next((known for known in DTYPES if str(value.dtype) == _TORCH_NAMES[known]), None)
    if datatype is None:
        raise ModelFault(reason=f"'{name}' has type {value.dtype}, which no tensor datatype stands for")
    return TensorSpec(name, datatype, tuple(length if isinstance(length, int) else -1 for length in value.shape))


_TORCH_NAMES = {datatype: f"torch.{dtype.name}" for datatype, dtype in DTYPES.items()}
