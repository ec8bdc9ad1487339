"""A function as a person defines it: where its files come from, before anything is fetched or stored.

The fields are the keys of the YAML that `fastgshare deploy` reads; code may build one as well. Paths are
relative to the directory that is given when the definition is bundled (the YAML's own, or the working
directory).
"""

import msgspec
from msgspec.structs import replace

from fastgshare.shared.functions import problems_with
from fastgshare.shared.ids import Digest, FunctionName
from fastgshare.shared.messages import Autoscale, FunctionSpec, HandlerRef, ModelRef, Slice

FORMATS_BY_SUFFIX = {".onnx": "onnx", ".sim.json": "sim"}
_ANY_DIGEST = Digest("0" * 64)


class WheelFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file inside a wheel: `wheel` is `name==version`, `path` the file's path inside it."""

    wheel: str
    path: str


class ModelSource(msgspec.Struct, frozen=True, kw_only=True):
    """A model: a local `file`, or `wheel` with `path`; `sha256` is checked, `format` told by the suffix."""

    file: str | None = None
    wheel: str | None = None
    path: str | None = None
    sha256: str | None = None
    format: str | None = None


class HandlerSource(msgspec.Struct, frozen=True, kw_only=True):
    """User code: `class_name` in `file`, with extra `files` laid beside it under their own names."""

    file: str
    class_name: str = msgspec.field(name="class")
    files: tuple[str | WheelFile, ...] = ()
    memory_limit_mib: int = 1024


class FunctionDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """All of a function. Without `replicas` and `autoscale` it gets one replica."""

    name: str
    model: ModelSource
    handler: HandlerSource | None = None
    slo_ms: float = 1000.0
    slo_percentile: float = 99.0
    max_batch: int = 8
    replicas: int | None = None
    autoscale: Autoscale | None = None
    slice: Slice = Slice()
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
    handler = HandlerRef(digest=_ANY_DIGEST, module="handler.py", class_name="Handler")
    if definition.handler is not None:
        handler = handler_ref(definition.handler, _ANY_DIGEST)
    draft = spec_of(definition, ModelRef(digest=_ANY_DIGEST, size_bytes=1), handler, None)
    return [*problems, *problems_with(draft)]


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
        module=source.file.replace("\\", "/").rsplit("/", 1)[-1],
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
        autoscale=definition.autoscale,
    )
    return replace(spec, slice=definition.slice, sample=sample, labels=definition.labels)
