"""What a model is to an emulated device: a signature, a curve and how much memory it takes.

A `sim` model is a JSON file that states all three. A model of any other format that a runtime reads lends its
signature and the size of its weights; its curve is fitted from a profile of it in the directory of tables, or is
`DEFAULT_CURVE` where there is none.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from fastgshare.node_manager.core.speed import SpeedCurve
from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.ports import ModelInfo, Runtime, StoredModel
from fastgshare.node_manager.devices.sim.curves import DEFAULT_CURVE, shipped
from fastgshare.node_manager.devices.sim.fitting import TableUnusable, curve_from_profile
from fastgshare.node_manager.devices.sim.gpus import SimGpu
from fastgshare.shared.arrays import DTYPES
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.messages import Profile
from fastgshare.shared.strict import unknown_keys
from fastgshare.shared.tensors import BYTES
from fastgshare.shared.typed import decode_json
from fastgshare.shared.units import US_PER_MS

SIM = "sim"
MAX_FILE_BYTES = 1 << 20
MAX_LOAD_MS = 600_000

logger = logging.getLogger(__name__)


class TensorDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor of a `sim` model; -1 marks a free axis."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class SimModelFile(msgspec.Struct, frozen=True, kw_only=True):
    """A `*.sim.json`: `curve` is a shipped one's name or a curve itself, `own_mib` each replica's beside the weights;
    `load_ms` passes whenever the weights come onto the device. Every `device_lost_every` batches (0: never) the device
    is lost under it, as a GPU is to a sticky error."""

    curve: str | SpeedCurve
    inputs: tuple[TensorDescription, ...]
    outputs: tuple[TensorDescription, ...]
    weights_mib: float = 0.0
    own_mib: float = 0.0
    load_ms: int = 0
    device_lost_every: int = 0
    metadata: dict[str, str] = {}


class SimModel:
    """A model on an emulated device; its weights are a number."""

    def __init__(
        self,
        info: ModelInfo,
        curve: SpeedCurve,
        weights_mib: float,
        own_mib: float,
        load_us: int,
        device_lost_every: int = 0,
    ) -> None:
        self.info = info
        self.curve = curve
        self.weights_mib = weights_mib
        self.own_mib = own_mib
        self.load_us = load_us
        self.device_lost_every = device_lost_every
        self.batches = 0

    def close(self) -> None:
        """Nothing lies anywhere."""


class SimModels:
    """Reads models for one emulated GPU: `runtimes` by format, `tables` a directory of profiles or empty."""

    def __init__(self, gpu: SimGpu, runtimes: Mapping[str, Runtime], tables: str = "") -> None:
        self._gpu = gpu
        self._runtimes = runtimes
        self._tables = Path(tables) if tables else None

    def read(self, model: StoredModel) -> SimModel:
        """Raises ModelFault."""
        if model.format == SIM:
            return _from_file(model.path)
        runtime = self._runtimes.get(model.format)
        if runtime is None:
            known = ", ".join((SIM, *self._runtimes))
            raise ModelFault(reason=f"its format is {model.format}, the sim device runs {known}")
        return self._from_runtime(runtime, model)

    def _from_runtime(self, runtime: Runtime, model: StoredModel) -> SimModel:
        host_model = runtime.load(model)
        try:
            info, weights_mib = host_model.info, host_model.weights_mib
        finally:
            host_model.close()
        return SimModel(info, self._curve_of(model), weights_mib, 0.0, 0)

    def _curve_of(self, model: StoredModel) -> SpeedCurve:
        tables = sorted(self._tables.glob(f"{model.digest}*.json")) if self._tables else []
        profiles = [_profile(path, model) for path in tables]
        same_kind = [profile for profile in profiles if profile.device_kind == self._gpu.kind]
        for profile in (*same_kind, *profiles):
            return curve_from_profile(profile, self._gpu.chunks)
        logger.warning("no table for model %s, it runs at the speed of %s", model.digest[:12], DEFAULT_CURVE)
        return shipped()[DEFAULT_CURVE].curve


def _from_file(path: Path) -> SimModel:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ModelFault(reason=f"it is {path.stat().st_size} bytes, expected a description of {MAX_FILE_BYTES}")
        content = path.read_bytes()
        raw = msgspec.json.decode(content)
        described = decode_json(SimModelFile, content)
    except OSError as error:
        raise ModelFault(reason=f"it cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ModelFault(reason=f"it is no description of a sim model: {error}") from error
    problems = [*unknown_keys(raw, SimModelFile), *_problems_with(described)]
    if problems:
        raise ModelFault(reason=f"it is no description of a sim model: {'; '.join(problems)}")
    curve = described.curve if isinstance(described.curve, SpeedCurve) else shipped()[described.curve].curve
    info = ModelInfo(
        inputs=_specs(described.inputs), outputs=_specs(described.outputs), metadata=dict(described.metadata)
    )
    load_us, lost_every = described.load_ms * US_PER_MS, described.device_lost_every
    return SimModel(info, curve, described.weights_mib, described.own_mib, load_us, lost_every)


def _problems_with(described: SimModelFile) -> Iterator[str]:
    if isinstance(described.curve, str) and described.curve not in shipped():
        yield f"curve is {described.curve!r}, expected a curve or one of {', '.join(shipped())}"
    for what, tensors in (("inputs", described.inputs), ("outputs", described.outputs)):
        if not tensors:
            yield f"{what} is empty, expected at least one tensor"
        if len({tensor.name for tensor in tensors}) < len(tensors):
            yield f"{what} has a name twice"
        for at, tensor in enumerate(tensors):
            yield from _problems_with_tensor(f"{what}[{at}]", tensor)
    for name, value in (("weights_mib", described.weights_mib), ("own_mib", described.own_mib)):
        if value < 0:
            yield f"{name} is {value}, expected at least 0"
    if described.device_lost_every < 0:
        yield f"device_lost_every is {described.device_lost_every}, expected at least 0"
    if not 0 <= described.load_ms <= MAX_LOAD_MS:
        yield f"load_ms is {described.load_ms}, expected 0 to {MAX_LOAD_MS}"


def _problems_with_tensor(place: str, tensor: TensorDescription) -> Iterator[str]:
    if not tensor.name:
        yield f"{place}.name is empty"
    known = (*DTYPES, BYTES)
    if tensor.datatype not in known:
        yield f"{place}.datatype is {tensor.datatype!r}, expected one of {', '.join(known)}"
    if any(length < 1 and length != -1 for length in tensor.shape):
        yield f"{place}.shape is {list(tensor.shape)}, expected lengths of at least 1, or -1 for any"


def _specs(tensors: tuple[TensorDescription, ...]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(tensor.name, tensor.datatype, tensor.shape) for tensor in tensors)


def _profile(path: Path, model: StoredModel) -> Profile:
    try:
        profile = decode_json(Profile, path.read_bytes())
    except OSError as error:
        raise TableUnusable(reason=f"table {path.name} cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise TableUnusable(reason=f"table {path.name} is no profile: {error}") from error
    if profile.model_digest != model.digest:
        raise TableUnusable(reason=f"table {path.name} is of model {profile.model_digest[:12]}, not of this one")
    return profile
