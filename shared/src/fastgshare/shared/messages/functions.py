"""A deployed function as it stands in the `functions` bucket. Whoever deploys writes it; everyone reads it."""

import msgspec

from fastgshare.shared.ids import Digest, FunctionName


class ModelRef(msgspec.Struct, frozen=True, kw_only=True):
    """A model by content: its digest is its key in the object store. `source` tells people where it came from.

    `factory` (`module:factory`) names what makes the model in formats that carry code.
    """

    digest: Digest
    size_bytes: int
    format: str = "onnx"
    source: str = ""
    factory: str = ""


class HandlerRef(msgspec.Struct, frozen=True, kw_only=True):
    """User code by content: a zip in the object store holding `module` (a file name) that defines `class_name`."""

    digest: Digest
    module: str
    class_name: str
    memory_limit_mib: int = 1024


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica holds of a device.

    `sm_partition` in percent of the device's SMs (cores, on a CPU), `quota_request` and `quota_limit` as shares of
    time in (0, 1], `gpu_mem_mib` of device memory.
    """

    sm_partition: int = 50
    quota_request: float = 0.5
    quota_limit: float = 1.0
    gpu_mem_mib: int = 256


class Autoscale(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds between which the scheduler chooses the number of replicas; `min` 0 allows scale to zero.

    `policy` names how it chooses, and whether replicas have the definition's slice or what suits the load (see the
    scheduler's policies); empty: `fixed`, the definition's slice for all of them.
    """

    min: int = 0
    max: int = 1
    policy: str = ""


class FunctionSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A deployed model with its objective, limits and optional user code.

    `generation` grows with each change that running replicas cannot take on in place. `sample` is the digest of a
    zip of sample inputs. Exactly one of `replicas` and `autoscale` is set.
    """

    name: FunctionName
    model: ModelRef
    version: int = 1
    generation: int = 1
    handler: HandlerRef | None = None
    slo_ms: float = 1000.0
    slo_percentile: float = 99.0
    max_batch: int = 8
    replicas: int | None = 1
    autoscale: Autoscale | None = None
    slice: Slice = Slice()
    sample: Digest | None = None
    labels: dict[str, str] = {}
