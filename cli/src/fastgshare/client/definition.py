"""A function as a person defines it: where its files come from, before anything is fetched or stored.

The fields are the keys of the YAML that `fastgshare deploy` reads; code may build one as well. Paths are
relative to the directory that is given when the definition is bundled (the YAML's own, or the working
directory).
"""

import msgspec
from msgspec.structs import replace

from fastgshare.shared.functions import OBJECTIVE, problems_with
from fastgshare.shared.ids import Digest, FunctionName
from fastgshare.shared.messages import Autoscale, FunctionSpec, HandlerRef, ModelRef, Slice
from fastgshare.shared.torch_bundle import TORCH, TORCH_EXPORT, is_factory

ONNX = "onnx"
FORMATS_BY_SUFFIX = {".onnx": ONNX, ".sim.json": "sim", ".py": TORCH, ".pt2": TORCH_EXPORT}
_ANY_DIGEST = Digest("0" * 64)
_ANY_FACTORY = "model:make"  # what is wrong with the real one is told with the file it should be in


class WheelFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file inside a wheel: `wheel` is `name==version`, `path` the file's path inside it."""

    wheel: str
    path: str


class ModelSource(msgspec.Struct, frozen=True, kw_only=True):
    """A model: a local `file`, or `wheel` with `path`; `sha256` is checked, `format` told by the suffix.

    A torch model's file is Python: `factory` (`module:name`) is what in it makes the module, `weights` a safetensors
    file, `files` lie beside it under their own names.
    """

    file: str | None = None
    wheel: str | None = None
    path: str | None = None
    sha256: str | None = None
    format: str | None = None
    factory: str | None = None
    weights: str | WheelFile | None = None
    files: tuple[str | WheelFile, ...] = ()


class HandlerSource(msgspec.Struct, frozen=True, kw_only=True):
    """User code: `class_name` in `file`, with extra `files` laid beside it under their own names."""

    file: str
    class_name: str = msgspec.field(name="class")
    files: tuple[str | WheelFile, ...] = ()
    memory_limit_mib: int = 1024


class FunctionDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """All of a function. Without `replicas` and `autoscale` it gets one replica.

    With `autoscale` and neither a `slice` nor a policy, the scheduler chooses the slices: its policy is `objective`.
    """

    name: str
    model: ModelSource
    handler: HandlerSource | None = None
    slo_ms: float = 1000.0
    slo_percentile: float = 99.0
    max_batch: int = 8
    replicas: int | None = None
    autoscale: Autoscale | None = None
    slice: Slice | None = None
    sample: str | tuple[str, ...] = ()
    labels: dict[str, str] = {}

    @property
    def samples(self) -> tuple[str, ...]:
        """The sample files."""
        return (self.sample,) if isinstance(self.sample, str) else self.sample


def problems_in(definition: FunctionDefinition) -> list[str]:
    """What can be told to be wrong before a file is touched: a sentence each, naming the value."""
    model = definition.model
    problems = []
    if (model.file is None) == (model.wheel is None):
        given = "neither" if model.file is None else "both"
        problems.append(f"model: {given} of file and wheel given, expected exactly one")
    if (model.wheel is None) != (model.path is None):
        problems.append("model: wheel and path go together: a wheel as name==version, and a file's path in it")
    file = model.file or model.path
    if file is not None and format_of(model) is None:
        known = ", ".join(FORMATS_BY_SUFFIX)
        problems.append(f"model is '{file}', expected a name ending in {known}, or a format")
    problems += _problems_in_code(model) if format_of(model) == TORCH else _problems_in_file(model)
    handler = HandlerRef(digest=_ANY_DIGEST, module="handler.py", class_name="Handler")
    if definition.handler is not None:
        handler = handler_ref(definition.handler, _ANY_DIGEST)
    form = format_of(model) or ONNX
    ref = ModelRef(digest=_ANY_DIGEST, size_bytes=1, format=form, factory=_ANY_FACTORY if form == TORCH else "")
    draft = spec_of(definition, ref, handler, None)
    return [*problems, *problems_with(draft)]


def _problems_in_code(model: ModelSource) -> list[str]:
    name = _file_name(model.file or model.path or "")
    problems = []
    if not name.endswith(".py") or not name.removesuffix(".py").isidentifier():
        problems.append(f"model is '{name}', expected a Python file for format {TORCH}, such as model.py")
    module = name.removesuffix(".py")
    if not is_factory(model.factory or "") or (model.factory or "").partition(":")[0] != module:
        given = "missing" if model.factory is None else f"'{model.factory}'"
        problems.append(f"model.factory is {given}, expected {module}:name for what in {name} makes the module")
    weights = model.weights.path if isinstance(model.weights, WheelFile) else model.weights
    if weights is None or not weights.endswith(".safetensors"):
        given = "missing" if weights is None else f"'{weights}'"
        problems.append(f"model.weights is {given}, expected a file that ends in .safetensors")
    return problems


def _problems_in_file(model: ModelSource) -> list[str]:
    given = {"factory": model.factory, "weights": model.weights, "files": model.files or None}
    return [
        f"model.{key} is given, expected none: it goes with a Python file, format {TORCH}"
        for key, value in given.items()
        if value is not None
    ]


def _file_name(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def format_of(model: ModelSource) -> str | None:
    """The model's format: as stated, or by its file's suffix; None when neither tells."""
    if model.format is not None:
        return model.format
    name = model.file or model.path or ""
    return next((form for suffix, form in FORMATS_BY_SUFFIX.items() if name.endswith(suffix)), None)


def handler_ref(source: HandlerSource, digest: Digest) -> HandlerRef:
    """The handler by content."""
    return HandlerRef(
        digest=digest,
        module=_file_name(source.file),
        class_name=source.class_name,
        memory_limit_mib=source.memory_limit_mib,
    )


def spec_of(
    definition: FunctionDefinition, model: ModelRef, handler: HandlerRef | None, sample: Digest | None
) -> FunctionSpec:
    """The definition with its files replaced by what they are stored as."""
    replicas = 1 if definition.replicas is None and definition.autoscale is None else definition.replicas
    spec = FunctionSpec(
        name=FunctionName(definition.name),
        model=model,
        handler=handler,
        slo_ms=definition.slo_ms,
        slo_percentile=definition.slo_percentile,
        max_batch=definition.max_batch,
        replicas=replicas,
        autoscale=_autoscale_of(definition),
    )
    held = definition.slice if definition.slice is not None else spec.slice
    return replace(spec, slice=held, sample=sample, labels=definition.labels)


def _autoscale_of(definition: FunctionDefinition) -> Autoscale | None:
    """As given, with the policy that follows from a slice not being given."""
    bounds = definition.autoscale
    if bounds is None or bounds.policy or definition.slice is not None:
        return bounds
    return replace(bounds, policy=OBJECTIVE)
