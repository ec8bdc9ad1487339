"""The law of the `functions` bucket: which definitions may stand in it, and how one follows another.

Pure. Whoever writes the bucket refuses a definition that `problems_with` finds fault with and stores what
`next_spec` gives.
"""

import re
from collections.abc import Iterator

from msgspec.structs import replace

from fastgshare.shared.ids import NAME_PATTERN, is_name
from fastgshare.shared.messages import Autoscale, FunctionSpec, HandlerRef, ModelRef, Slice
from fastgshare.shared.torch_bundle import TORCH, TORCH_EXPORT, is_factory

MODEL_FORMATS = ("onnx", "sim", TORCH, TORCH_EXPORT)
FIXED, OBJECTIVE = "fixed", "objective"
POLICIES = (FIXED, OBJECTIVE, "paper", "time_sharing", "exclusive")
"""What `autoscale.policy` may be, beside empty; the scheduler has them (`scheduler/core/policies`)."""
MAX_BATCH = 1024
MAX_REPLICAS = 1000
MAX_SLO_MS = 3_600_000
MAX_LABELS = 64
MAX_LABEL_LENGTH = 256
MIN_HANDLER_MIB = 64
_DIGEST = re.compile(r"[0-9a-f]{64}")


def problems_with(spec: FunctionSpec) -> list[str]:
    """What keeps `spec` from being deployed, a sentence each: the value and what was expected."""
    return [
        *_problems_with_name(spec.name),
        *_problems_with_model(spec.model),
        *(_problems_with_handler(spec.handler) if spec.handler is not None else ()),
        *_problems_with_objective(spec),
        *_problems_with_count(spec.replicas, spec.autoscale),
        *_problems_with_slice(spec.slice),
        *_problems_with_labels(spec.labels),
        *_problems_with_digest("sample", spec.sample),
    ]


def keeps_slice(spec: FunctionSpec) -> bool:
    """Whether replicas hold the slice of the definition; other policies than `fixed` choose slices themselves."""
    return spec.autoscale is None or spec.autoscale.policy in ("", FIXED)


def next_spec(old: FunctionSpec | None, wanted: FunctionSpec, first_generation: int = 1) -> FunctionSpec:
    """`wanted` with the generation it gets when it replaces `old`.

    The generation stands while running replicas can take the change on in place (their number, quotas of time, labels,
    the sample) and grows by one otherwise. Without an `old` it is `first_generation`: where the function once
    existed, pass the bucket revision of its deletion. Each generation cost the bucket at least one revision,
    so that number is above every generation the name ever had.
    """
    if old is None:
        return replace(wanted, generation=first_generation)
    changed = _fixed_part(old) != _fixed_part(wanted)
    return replace(wanted, generation=old.generation + 1 if changed else old.generation)


def _fixed_part(spec: FunctionSpec) -> FunctionSpec:
    """What a replica is built from: the spec with everything blanked that may change while it runs."""
    held = replace(spec.slice, quota_request=0.0, quota_limit=0.0)
    return replace(spec, version=1, generation=1, replicas=None, autoscale=None, slice=held, labels={}, sample=None)


def _problems_with_name(name: str) -> Iterator[str]:
    if not is_name(name):
        yield f"name is {name!r}, expected lower-case letters, digits, '-' and '_' ({NAME_PATTERN.pattern})"


def _problems_with_model(model: ModelRef) -> Iterator[str]:
    yield from _problems_with_digest("model.digest", model.digest)
    if model.size_bytes < 1:
        yield f"model.size_bytes is {model.size_bytes}, expected at least 1"
    if model.format not in MODEL_FORMATS:
        yield f"model.format is {model.format!r}, expected one of {', '.join(MODEL_FORMATS)}"
    elif model.format == TORCH and not is_factory(model.factory):
        yield f"model.factory is {model.factory!r}, expected module:name such as model:make"
    elif model.format != TORCH and model.factory:
        yield f"model.factory is {model.factory!r}, expected none: format {model.format} carries no code"


def _problems_with_handler(handler: HandlerRef) -> Iterator[str]:
    yield from _problems_with_digest("handler.digest", handler.digest)
    if not handler.module.endswith(".py") or not handler.module.removesuffix(".py").isidentifier():
        yield f"handler.module is {handler.module!r}, expected a Python file name such as handler.py"
    if not handler.class_name.isidentifier():
        yield f"handler.class_name is {handler.class_name!r}, expected the name of a class"
    if handler.memory_limit_mib < MIN_HANDLER_MIB:
        yield f"handler.memory_limit_mib is {handler.memory_limit_mib}, expected at least {MIN_HANDLER_MIB}"


def _problems_with_objective(spec: FunctionSpec) -> Iterator[str]:
    if not 0 < spec.slo_ms <= MAX_SLO_MS:
        yield f"slo_ms is {spec.slo_ms}, expected above 0 and at most {MAX_SLO_MS} (one hour)"
    if not 0 < spec.slo_percentile <= 100:
        yield f"slo_percentile is {spec.slo_percentile}, expected above 0 and at most 100"
    if not 1 <= spec.max_batch <= MAX_BATCH:
        yield f"max_batch is {spec.max_batch}, expected 1 to {MAX_BATCH}"


def _problems_with_count(replicas: int | None, autoscale: Autoscale | None) -> Iterator[str]:
    if (replicas is None) == (autoscale is None):
        given = "neither" if replicas is None else "both"
        yield f"{given} of replicas and autoscale given, expected exactly one"
    if replicas is not None and not 0 <= replicas <= MAX_REPLICAS:
        yield f"replicas is {replicas}, expected 0 to {MAX_REPLICAS}"
    if autoscale is not None and not (0 <= autoscale.min <= autoscale.max and 1 <= autoscale.max <= MAX_REPLICAS):
        yield (
            f"autoscale is min {autoscale.min}, max {autoscale.max}, "
            f"expected 0 <= min <= max and max 1 to {MAX_REPLICAS}"
        )
    if autoscale is not None and autoscale.policy and autoscale.policy not in POLICIES:
        yield f"autoscale.policy is {autoscale.policy!r}, expected one of {', '.join(POLICIES)}"


def _problems_with_slice(held: Slice) -> Iterator[str]:
    if not 1 <= held.sm_partition <= 100:
        yield f"slice.sm_partition is {held.sm_partition}, expected 1 to 100 percent"
    for name, quota in (("quota_request", held.quota_request), ("quota_limit", held.quota_limit)):
        if not 0 < quota <= 1:
            yield f"slice.{name} is {quota}, expected above 0 and at most 1"
    if held.quota_request > held.quota_limit:
        yield f"slice.quota_request is {held.quota_request}, expected at most quota_limit, {held.quota_limit}"
    if held.gpu_mem_mib < 1:
        yield f"slice.gpu_mem_mib is {held.gpu_mem_mib}, expected at least 1"


def _problems_with_labels(labels: dict[str, str]) -> Iterator[str]:
    if len(labels) > MAX_LABELS:
        yield f"labels has {len(labels)} entries, expected at most {MAX_LABELS}"
    longest = max((len(text) for pair in labels.items() for text in pair), default=0)
    if longest > MAX_LABEL_LENGTH:
        yield f"labels holds a text of {longest} characters, expected at most {MAX_LABEL_LENGTH}"


def _problems_with_digest(field: str, digest: str | None) -> Iterator[str]:
    if digest is not None and _DIGEST.fullmatch(digest) is None:
        yield f"{field} is {digest!r}, expected a SHA-256 as 64 lower-case hex digits"
