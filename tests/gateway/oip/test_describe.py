"""What functions tell of themselves has the fields that protocol and load generators look for."""

from msgspec.structs import replace

from fastgshare.gateway.oip import config_document, index_document, metadata_document, stats_document
from fastgshare.gateway.ports import BatchStats, FunctionStats, FunctionView
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import Digest, FunctionName
from fastgshare.shared.messages import Autoscale, FunctionSpec, ModelRef, ReplicaState, Signature

SPEC = FunctionSpec(
    name=FunctionName("f"), model=ModelRef(digest=Digest("0" * 64), size_bytes=1), generation=4, max_batch=16
)
SIGNATURE = Signature(
    inputs=(TensorSpec("x", "FP32", (-1, 3)), TensorSpec("text", "BYTES", (-1, 1))),
    outputs=(TensorSpec("y", "INT64", (-1,)),),
    batched=True,
)
VIEW = FunctionView(spec=SPEC, generation=3, signature=SIGNATURE, ready_replicas=2)


def test_metadata_has_tensors_and_the_serving_generation() -> None:
    assert metadata_document(VIEW, SIGNATURE) == {
        "name": "f",
        "versions": ["3"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [-1, 3]},
            {"name": "text", "datatype": "BYTES", "shape": [-1, 1]},
        ],
        "outputs": [{"name": "y", "datatype": "INT64", "shape": [-1]}],
    }


def test_a_version_is_the_generation_coming_up_while_none_serves() -> None:
    assert FunctionView(spec=SPEC).version == "4"


def test_config_keeps_the_batch_axis_out_of_the_dims() -> None:
    config = config_document(VIEW, SIGNATURE)
    assert config["max_batch_size"] == 16
    assert config["input"] == [
        {"name": "x", "data_type": "TYPE_FP32", "dims": [3]},
        {"name": "text", "data_type": "TYPE_STRING", "dims": [1]},
    ]
    assert config["output"] == [{"name": "y", "data_type": "TYPE_INT64", "dims": []}]


def test_config_without_a_batch_axis_has_every_dim() -> None:
    config = config_document(VIEW, replace(SIGNATURE, batched=False))
    assert config["max_batch_size"] == 0
    assert config["input"][0]["dims"] == [-1, 3]


def test_stats_are_in_nanoseconds() -> None:
    stats = FunctionStats(
        success_count=8,
        success_us=80,
        fail_count=1,
        fail_us=9,
        queue_us=16,
        handler_us=4,
        execute_us=40,
        executions=2.25,
        last_inference_unix_us=1_700_000_000_123_456,
        batches=(BatchStats(batch_size=4, count=2, execute_us=40),),
    )
    document = stats_document(VIEW, stats)
    assert document["inference_count"] == 8
    assert document["execution_count"] == 2
    assert document["last_inference"] == 1_700_000_000_123
    assert document["inference_stats"]["success"] == {"count": 8, "ns": 80_000}
    assert document["inference_stats"]["fail"] == {"count": 1, "ns": 9_000}
    assert document["inference_stats"]["queue"] == {"count": 8, "ns": 16_000}
    assert document["inference_stats"]["compute_infer"] == {"count": 8, "ns": 40_000}
    assert document["batch_stats"][0]["batch_size"] == 4
    assert document["batch_stats"][0]["compute_infer"] == {"count": 2, "ns": 40_000}


def test_the_index_tells_the_state_and_the_newest_reason() -> None:
    loading = FunctionView(spec=SPEC, states={ReplicaState.LOADING: 1})
    failed = FunctionView(spec=SPEC, states={ReplicaState.FAILED: 1}, reasons=("no such input", "older"))
    assert index_document(VIEW) == {"name": "f", "version": "3", "state": "READY", "reason": ""}
    assert index_document(loading)["state"] == "LOADING"
    assert index_document(failed) == {
        "name": "f",
        "version": "4",
        "state": "UNAVAILABLE",
        "reason": "no such input",
    }


def test_a_function_at_an_allowed_zero_is_ready_unless_something_is_wrong() -> None:
    spec = replace(SPEC, replicas=None, autoscale=Autoscale(min=0, max=2))
    assert FunctionView(spec=spec).is_ready
    assert not FunctionView(spec=spec, reasons=("broken",)).is_ready
    assert not FunctionView(spec=SPEC).is_ready
