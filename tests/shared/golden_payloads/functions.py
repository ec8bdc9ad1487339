"""Examples of the messages in `messages/functions.py`."""

import msgspec

from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import Autoscale, FunctionSpec, HandlerRef, ModelRef, Slice
from tests.shared.golden_payloads.names import ECHO, MODEL_DIGEST

MODEL = ModelRef(digest=MODEL_DIGEST, size_bytes=1_024, format="torch", source="magika==1.0.3 model.onnx")
HANDLER = HandlerRef(digest=Digest("cd" * 32), module="handler.py", class_name="FileType", memory_limit_mib=512)
SLICE = Slice(sm_partition=25, quota_request=0.25, quota_limit=0.75, gpu_mem_mib=512)
FUNCTION = FunctionSpec(
    name=ECHO,
    model=MODEL,
    version=2,
    generation=3,
    handler=HANDLER,
    slo_ms=150.0,
    slo_percentile=95.0,
    max_batch=16,
    replicas=None,
    autoscale=Autoscale(min=1, max=4),
    slice=SLICE,
    sample=Digest("ef" * 32),
    labels={"team": "vision"},
)

EXAMPLES: dict[str, msgspec.Struct] = {
    "Autoscale.1": Autoscale(min=1, max=4),
    "Autoscale.2": Autoscale(min=1, max=4, policy="objective"),
    "FunctionSpec.1": FUNCTION,
    "HandlerRef.1": HANDLER,
    "ModelRef.1": MODEL,
    "ModelRef.2": ModelRef(digest=MODEL_DIGEST, size_bytes=1_024, format="torch", factory="model:make"),
    "Slice.1": SLICE,
    "TensorSpec.1": TensorSpec("text", "BYTES", (-1, 4)),
}
