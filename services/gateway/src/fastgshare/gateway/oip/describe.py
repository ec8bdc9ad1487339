"""What a function tells of itself, in the words of the protocol and of Triton's extensions.

Sources: Open Inference Protocol v2, "Model Metadata"; Triton's model configuration, statistics and model
repository extensions, whose JSON existing load generators read. A function's generation is its model version.
"""

from typing import Any

from fastgshare.gateway.ports import FunctionStats, FunctionView
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.messages import ReplicaState, Signature
from fastgshare.shared.tensors import BYTES
from fastgshare.shared.units import NS_PER_US, US_PER_MS

Document = dict[str, Any]

_PLATFORMS = {"onnx": "onnxruntime_onnx"}
_BACKENDS = {"onnx": "onnxruntime"}


def metadata_document(view: FunctionView, signature: Signature) -> Document:
    """`GET /v2/models/{name}`."""
    return {
        "name": view.spec.name,
        "versions": [view.version],
        "platform": _PLATFORMS.get(view.spec.model.format, view.spec.model.format),
        "inputs": [_tensor(spec) for spec in signature.inputs],
        "outputs": [_tensor(spec) for spec in signature.outputs],
    }


def config_document(view: FunctionView, signature: Signature) -> Document:
    """`GET /v2/models/{name}/config`: the batch axis is left out of the dims, as Triton does."""
    spec = view.spec
    batched = signature.batched
    return {
        "name": spec.name,
        "platform": _PLATFORMS.get(spec.model.format, spec.model.format),
        "backend": _BACKENDS.get(spec.model.format, spec.model.format),
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": spec.max_batch if batched else 0,
        "input": [_config_tensor(tensor, batched) for tensor in signature.inputs],
        "output": [_config_tensor(tensor, batched) for tensor in signature.outputs],
        "instance_group": [{"name": spec.name, "kind": "KIND_AUTO", "count": max(view.ready_replicas, 1)}],
        "dynamic_batching": {"preferred_batch_size": [spec.max_batch], "max_queue_delay_microseconds": 0},
        "model_transaction_policy": {"decoupled": signature.streams},
        "parameters": {
            "slo_ms": {"string_value": f"{spec.slo_ms:g}"},
            "slo_percentile": {"string_value": f"{spec.slo_percentile:g}"},
        },
    }


def stats_document(view: FunctionView, stats: FunctionStats) -> Document:
    """One entry of `model_stats` in `GET /v2/models/{name}/stats`."""
    done = stats.success_count
    return {
        "name": view.spec.name,
        "version": view.version,
        "last_inference": stats.last_inference_unix_us // US_PER_MS,
        "inference_count": done,
        "execution_count": round(stats.executions),
        "inference_stats": {
            "success": _duration(done, stats.success_us),
            "fail": _duration(stats.fail_count, stats.fail_us),
            "queue": _duration(done, stats.queue_us),
            "compute_input": _duration(done, stats.handler_us),
            "compute_infer": _duration(done, stats.execute_us),
            "compute_output": _duration(done, 0),
            "cache_hit": _duration(0, 0),
            "cache_miss": _duration(0, 0),
        },
        "response_stats": {},
        "batch_stats": [
            {
                "batch_size": batch.batch_size,
                "compute_input": _duration(batch.count, 0),
                "compute_infer": _duration(batch.count, batch.execute_us),
                "compute_output": _duration(batch.count, 0),
            }
            for batch in stats.batches
        ],
        "memory_usage": [],
    }


def index_document(view: FunctionView) -> Document:
    """One entry of `POST /v2/repository/index`."""
    if view.is_ready:
        state = "READY"
    else:
        state = "LOADING" if ReplicaState.LOADING in view.states else "UNAVAILABLE"
    return {
        "name": view.spec.name,
        "version": view.version,
        "state": state,
        "reason": view.reasons[0] if view.reasons else "",
    }


def _tensor(spec: TensorSpec) -> Document:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _config_tensor(spec: TensorSpec, batched: bool) -> Document:
    datatype = "STRING" if spec.datatype == BYTES else spec.datatype
    dims = list(spec.shape[1:] if batched else spec.shape)
    return {"name": spec.name, "data_type": f"TYPE_{datatype}", "dims": dims}


def _duration(count: int, microseconds: int) -> Document:
    return {"count": count, "ns": microseconds * NS_PER_US}
