"""The page of a function's YAML, from the struct that reads it."""

from collections.abc import Iterator

import msgspec

from fastgshare.client.definition import FORMATS_BY_SUFFIX, FunctionDefinition, HandlerSource, ModelSource, WheelFile
from fastgshare.shared import functions
from fastgshare.shared.ids import NAME_PATTERN
from fastgshare.shared.messages import Autoscale, Slice
from scripts.reference.markdown import code, prose, table
from scripts.reference.types import default_of, kind_of

_SUFFIXES = ", ".join(f"`{suffix}` {form}" for suffix, form in FORMATS_BY_SUFFIX.items())
_COUNT = f"0 to {functions.MAX_REPLICAS}"

MEANINGS: dict[type[msgspec.Struct], dict[str, str]] = {
    FunctionDefinition: {
        "name": f"What callers call it: `{NAME_PATTERN.pattern}`.",
        "model": "The model: [below](#model).",
        "handler": "Your code around the model, in a process of its own: [below](#handler). Left out: bare tensors.",
        "slo_ms": f"The objective: an answer within so many milliseconds, above 0 and at most {functions.MAX_SLO_MS}.",
        "slo_percentile": "Of so many of a hundred requests, above 0 and at most 100.",
        "max_batch": f"The most inputs in one batch, 1 to {functions.MAX_BATCH}.",
        "replicas": f"A fixed number, {_COUNT}. Without it and without `autoscale`: 1.",
        "autoscale": "Bounds between which the scheduler chooses the number: [below](#autoscale).",
        "slice": "What each replica holds of a device: [below](#slice). Left out with `autoscale`: the scheduler "
        "chooses each replica's.",
        "sample": "A file, or a list of files, with inputs to measure it with: `.npz` with an array for each input, or "
        "any other file as the content of the only input.",
        "labels": f"For you: at most {functions.MAX_LABELS}, of {functions.MAX_LABEL_LENGTH} characters at most.",
    },
    ModelSource: {
        "file": "A file, relative to this YAML. Exactly one of `file` and `wheel`.",
        "wheel": "`name==version`: the wheel that the file is in. It is fetched without its dependencies, and nothing "
        "in it is run.",
        "path": "The file's path inside the wheel.",
        "sha256": "Checked, if given.",
        "format": f"Told by the suffix where left out: {_SUFFIXES}.",
        "factory": "Of a torch model: `module:name`, what in the file makes the `torch.nn.Module`.",
        "weights": "Of a torch model: a safetensors file, or one in a wheel.",
        "files": "Of a torch model: files laid beside it under their own names.",
    },
    HandlerSource: {
        "file": "A Python file, relative to this YAML.",
        "class": "The class in it: `inputs`, `outputs`, `preprocess`, `postprocess` "
        "(`fastgshare.shared.handler.Handler`).",
        "files": "Files laid beside it under their own names; each a path, or `wheel` and `path`.",
        "memory_limit_mib": f"What its process may use, at least {functions.MIN_HANDLER_MIB}.",
    },
    WheelFile: {"wheel": "`name==version`.", "path": "The file's path inside the wheel."},
    Autoscale: {
        "min": "At least so many; 0 lets it go to none when idle.",
        "max": f"At most so many, 1 to {functions.MAX_REPLICAS}.",
        "policy": f"How it chooses: {', '.join(code(policy) for policy in functions.POLICIES)}. Left out: "
        f"`{functions.OBJECTIVE}` without a `slice`, `{functions.FIXED}` with one.",
    },
    Slice: {
        "sm_partition": "Percent of the device's SMs (of its cores, on a CPU), 1 to 100, rounded up to whole chunks.",
        "quota_request": "The share of time it is promised, above 0 and at most 1.",
        "quota_limit": "The share of time it may have at most, when others leave it.",
        "gpu_mem_mib": "Device memory it may use, its model's weights included; those count once a device.",
    },
}
SECTIONS = (
    ("model", ModelSource),
    ("handler", HandlerSource),
    ("autoscale", Autoscale),
    ("slice", Slice),
    ("A file in a wheel", WheelFile),
)


def page() -> str:
    """All keys, section by section."""
    parts = [
        "# A function's YAML",
        "",
        (
            "What `fastgshare deploy FILE.yaml` reads. Unknown keys are refused by name; everything that is wrong is "
            "told at once, with its place and what was expected. The Python client takes the same as "
            "[`FunctionDefinition`](client.md#functiondefinition)."
        ),
        "",
        _keys(FunctionDefinition),
    ]
    for name, struct in SECTIONS:
        parts += [f"## {name}", "", prose(struct), "", _keys(struct)]
    return "\n".join(parts)


def _keys(struct: type[msgspec.Struct]) -> str:
    return table(("key", "type", "default", ""), _rows(struct))


def _rows(struct: type[msgspec.Struct]) -> Iterator[tuple[str, str, str, str]]:
    for field in msgspec.structs.fields(struct):
        key = field.encode_name
        yield code(key), kind_of(field.type), default_of(field), MEANINGS[struct][key]
