"""Torch models from their stored form to a module with a signature, on any device.

Weights are read once, straight to where they stay: parameters are made without memory, then take the tensors of the
mapped safetensors file as they are. What a module computes in its constructor beside parameters is real. A factory that
cannot do without the values of its parameters is called once more with memory for them; until the weights are there
that takes as much again as the weights do.
"""

import inspect
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.ports import ModelInfo, StoredModel
from fastgshare.node_manager.devices.torch_code import import_factory, unpacked
from fastgshare.node_manager.devices.torch_package import import_torch
from fastgshare.node_manager.devices.torch_programs import load_program
from fastgshare.node_manager.reasons import reason_of
from fastgshare.shared.arrays import DTYPES
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.torch_bundle import TORCH, TORCH_EXPORT, WEIGHTS_FILE
from fastgshare.shared.typed import convert
from fastgshare.shared.units import BYTES_PER_MIB

if TYPE_CHECKING:
    import torch

_NAMED_AT_MOST = 5
_building = threading.Lock()  # torch's registration hooks are the process's


@dataclass(frozen=True, slots=True)
class LoadedModule:
    """A module in evaluation mode whose weights are on its device and are never written.

    Call it with the tensors of `info.inputs` in their order; `by_name` gives what it returned the names of
    `info.outputs`. `weights_mib` counts parameters and buffers, shared ones once.
    """

    module: "torch.nn.Module"
    info: ModelInfo
    weights_mib: float

    def by_name(self, returned: object) -> "dict[str, torch.Tensor]":
        """Outputs by name, of one tensor, several in the order of `info.outputs`, or a dict. Raises ModelFault."""
        return _by_name(self.info.outputs, returned)


class _Weighed(NamedTuple):
    name: str
    tensor: "torch.Tensor"


def load_module(model: StoredModel, device: str = "cpu") -> LoadedModule:
    """Load a model of format torch or torch_export onto a torch device. Blocks, imports torch.

    Raises:
        ModelFault: torch is not installed, or the model does not load; says why.
    """
    import_torch()
    if model.format == TORCH:
        module, info = _from_bundle(model)
        try:
            module = module.to(device)
        except (RuntimeError, AssertionError) as error:  # torch's words for no memory, and for no such device
            raise ModelFault(reason=f"its weights do not go to {device}: {error}") from error
    elif model.format == TORCH_EXPORT:
        module, info = load_program(model, device)
    else:
        raise ModelFault(reason=f"its format is {model.format}, torch runs {TORCH} and {TORCH_EXPORT}")
    module.requires_grad_(False)
    tensors = {weight.tensor.data_ptr(): weight.tensor for weight in weights_of(module) if weight.tensor.numel()}
    return LoadedModule(module, info, sum(tensor.nbytes for tensor in tensors.values()) / BYTES_PER_MIB)


def weights_of(module: "torch.nn.Module") -> Iterator[_Weighed]:
    """Every parameter and buffer by every name it has."""
    for name, tensor in (
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ):
        yield _Weighed(name, tensor)


def _from_bundle(model: StoredModel) -> "tuple[torch.nn.Module, ModelInfo]":
    directory = unpacked(model)
    factory = import_factory(model, directory)
    weights = _mapped(directory / WEIGHTS_FILE)
    try:
        module = _built(factory, weights, model.factory, directory)
        module.eval()
        return module, _signature(module)
    except ModelFault:
        raise
    except Exception as error:  # a module may have its own of all that was called here
        raise ModelFault(reason=f"loading its weights raised {reason_of(error, directory)}") from error


def _mapped(path: Path) -> "dict[str, torch.Tensor]":
    """The file's tensors, mapped: pages are read when they are first used and shared with whoever else maps them."""
    import safetensors
    import safetensors.torch

    try:
        return dict(safetensors.torch.load_file(path))
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ModelFault(reason=f"its weights are no safetensors file: {error}") from error


def _built(
    factory: Callable[[], Any], weights: "dict[str, torch.Tensor]", told: str, directory: Path
) -> "torch.nn.Module":
    """The module with its weights, made without memory for parameters if it can be. Raises ModelFault."""
    try:
        with _parameters_without_memory():
            module = _made(factory, told, directory)
        whole = _with_weights(module, weights)
    except _NeedsValues:
        whole = None
    if whole is None or any(tensor.is_meta for tensor in _everywhere(whole)):
        try:
            whole = _with_weights(_made(factory, told, directory), weights)
        except _NeedsValues as error:
            raise ModelFault(reason=f"calling {told} raised {error}") from error
    return whole


class _NeedsValues(Exception):
    """A factory raised: perhaps because its parameters had no values."""


def _made(factory: Callable[[], Any], told: str, directory: Path) -> "torch.nn.Module":
    import torch

    try:
        module = factory()
    except (Exception, SystemExit) as error:
        raise _NeedsValues(reason_of(error, directory)) from error
    if not isinstance(module, torch.nn.Module):
        raise ModelFault(reason=f"{told} returned {type(module).__name__}, expected a torch.nn.Module")
    return module


@contextmanager
def _parameters_without_memory() -> Iterator[None]:
    """Modules that this thread makes meanwhile get parameters with a shape alone; initializing these costs nothing."""
    import torch

    thread = threading.get_ident()
    twins: dict[int, tuple[weakref.ref[Any], Any]] = {}  # a parameter with several names stays one

    def without_memory(_module: Any, _name: str, parameter: Any) -> Any:
        if parameter is None or parameter.is_meta or threading.get_ident() != thread:
            return parameter
        known, twin = twins.get(id(parameter), (None, None))
        if known is None or known() is not parameter:
            twin = torch.nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)
            twins[id(parameter)] = (weakref.ref(parameter), twin)
        return twin

    with _building:
        hook = torch.nn.modules.module.register_module_parameter_registration_hook(without_memory)
        try:
            yield
        finally:
            hook.remove()


def _with_weights(module: "torch.nn.Module", weights: "dict[str, torch.Tensor]") -> "torch.nn.Module":
    """The module with the file's tensors in the place of its own. Raises ModelFault where names or shapes differ."""
    expected = module.state_dict()
    given = {name: weights[name] for name in expected if name in weights}
    for twins in _tied(module):
        first = next((given[name] for name in twins if name in given), None)
        if first is not None:
            given |= {name: first for name in twins if name in expected}
    problems = [
        *_told("misses", [name for name in expected if name not in given]),
        *_told("has, but the module lacks,", [name for name in weights if name not in expected]),
        *_told("has in another shape", [name for name in given if given[name].shape != expected[name].shape]),
    ]
    if problems:
        raise ModelFault(reason=f"its weights file does not fit the module: it {'; it '.join(problems)}")
    module.load_state_dict(given, strict=True, assign=True)
    return module


def _tied(module: "torch.nn.Module") -> Iterable[list[str]]:
    """The names of each parameter that has several: a file needs to hold it once."""
    names: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [twins for twins in names.values() if len(twins) > 1]


def _told(what: str, names: list[str]) -> Iterator[str]:
    if names:
        more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
        yield f"{what} {', '.join(names[:_NAMED_AT_MOST])}{more}"


def _everywhere(module: "torch.nn.Module") -> Iterator["torch.Tensor"]:
    """Parameters, buffers, and tensors that submodules keep as plain attributes or in lists and dicts of theirs."""
    import torch

    for weight in weights_of(module):
        yield weight.tensor
    for part in module.modules():
        for value in vars(part).values():
            kept = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else (value,)
            yield from (tensor for tensor in kept if isinstance(tensor, torch.Tensor))


def _signature(module: "torch.nn.Module") -> ModelInfo:
    """What the module declares, inputs in the order in which its `forward` takes them. Raises ModelFault."""
    declared = {spec.name: spec for spec in _declared(module, "inputs")}
    where = f"{type(module).__name__}.forward"
    ordered = []
    for parameter in inspect.signature(module.forward).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name not in declared:
            if parameter.default is parameter.empty:
                raise ModelFault(
                    reason=f"{where} needs '{parameter.name}', which is not among its inputs {[*declared]}"
                )
            continue
        if parameter.kind is parameter.KEYWORD_ONLY:
            raise ModelFault(reason=f"{where} takes '{parameter.name}' by keyword only, expected it to be positional")
        ordered.append(declared.pop(parameter.name))
    if declared:
        raise ModelFault(
            reason=f"{where} takes no {', '.join(map(repr, declared))}, which it declares among its inputs"
        )
    return ModelInfo(inputs=tuple(ordered), outputs=_declared(module, "outputs"), metadata={})


def _declared(module: "torch.nn.Module", name: str) -> tuple[TensorSpec, ...]:
    where = f"{type(module).__name__}.{name}"
    declared = getattr(module, name, None)
    if declared is None:
        raise ModelFault(reason=f"{where} is missing, expected a list of TensorSpec")
    try:
        specs = convert(tuple[TensorSpec, ...], msgspec.to_builtins(declared))
    except (msgspec.ValidationError, TypeError) as error:
        raise ModelFault(reason=f"{where} is not a list of TensorSpec: {error}") from error
    names = [spec.name for spec in specs]
    if not names or len(set(names)) < len(names) or not all(names):
        raise ModelFault(reason=f"{where} needs at least one tensor, each with a name of its own, got {names}")
    for spec in specs:
        if spec.datatype not in DTYPES:
            known = ", ".join(DTYPES)
            raise ModelFault(reason=f"{where}: '{spec.name}' has datatype {spec.datatype}, expected one of {known}")
        if any(length < -1 for length in spec.shape):
            raise ModelFault(reason=f"{where}: '{spec.name}' has shape {list(spec.shape)}, expected lengths or -1")
    return specs


def _by_name(specs: tuple[TensorSpec, ...], returned: Any) -> "dict[str, torch.Tensor]":
    names = [spec.name for spec in specs]
    if isinstance(returned, Mapping):
        if missing := [name for name in names if name not in returned]:
            raise ModelFault(reason=f"it returned no {', '.join(missing)}, but a dict with {[*returned]}")
        found = [returned[name] for name in names]
    else:
        found = list(returned) if isinstance(returned, tuple | list) else [returned]
        if len(found) != len(names):
            raise ModelFault(reason=f"it returned {len(found)} tensors, its signature has {len(names)}")
    for name, tensor in zip(names, found, strict=True):
        if not hasattr(tensor, "data_ptr"):
            raise ModelFault(reason=f"it returned a {type(tensor).__name__} as output '{name}', expected a tensor")
    return dict(zip(names, found, strict=True))
