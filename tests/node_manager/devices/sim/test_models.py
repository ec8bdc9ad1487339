"""Models on the sim device: descriptions read strictly, other formats lend signatures, tables give the speed."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from fastgshare.client.definition import ModelSource, format_of
from fastgshare.client.specfile import read_definition
from fastgshare.node_manager.config import DeviceSettings
from fastgshare.node_manager.devices.catalog import DeviceName, discover, open_device
from fastgshare.node_manager.devices.faults import DeviceUnavailable, ModelFault
from fastgshare.node_manager.devices.ports import HostModel, HostSession, Lane, ModelInfo, StoredModel
from fastgshare.node_manager.devices.sim.blanks import blank_outputs, rows_in
from fastgshare.node_manager.devices.sim.curves import DEFAULT_CURVE, shipped
from fastgshare.node_manager.devices.sim.gpus import GPUS
from fastgshare.node_manager.devices.sim.models import SimModels
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.messages import Profile, ProfilePoint, ProfileState
from fastgshare.shared.objects import digest_of
from tests.node_manager.devices.sim.descriptions import description, stored
from tests.node_manager.models import scaled

EXAMPLE = Path(__file__).parents[4] / "examples" / "functions" / "sim-resnet50"
INFO = ModelInfo(inputs=(TensorSpec("x", "FP32", (-1, 8)),), outputs=(TensorSpec("y", "FP32", (-1, 8)),), metadata={})


class FakeRuntime:
    """Reads any file as a model with 10 MiB of weights."""

    def __init__(self) -> None:
        self.closed = 0

    def load(self, _model: StoredModel) -> HostModel:
        return FakeHostModel(self)


class FakeHostModel:
    info = INFO
    weights_mib = 10.0

    def __init__(self, runtime: FakeRuntime) -> None:
        self._runtime = runtime

    def session(self, cores: int) -> HostSession:
        raise AssertionError(f"nothing is computed, on {cores} cores or any")

    def close(self) -> None:
        self._runtime.closed += 1


def onnx_file(directory: Path) -> StoredModel:
    path = directory / "m.onnx"
    path.write_bytes(b"any")
    return StoredModel(digest_of(path), path, "onnx")


def write_table(directory: Path, model: StoredModel, device_us: int, kind: str = "gpu", suffix: str = "") -> None:
    point = ProfilePoint(
        sm_partition=100,
        quota=1.0,
        batch=1,
        throughput_rps=1.0,
        p50_us=1,
        p95_us=1,
        p99_us=1,
        device_us=device_us,
        runs=9,
    )
    profile = Profile(model_digest=model.digest, device_kind=kind, state=ProfileState.COMPLETE, points=(point,))
    (directory / f"{model.digest}{suffix}.json").write_bytes(msgspec.json.encode(profile))


def models(tables: Path | None = None, runtime: FakeRuntime | None = None) -> SimModels:
    return SimModels(GPUS["v100"], {"onnx": runtime or FakeRuntime()}, "" if tables is None else str(tables))


def test_a_description_names_a_shipped_curve(tmp_path: Path) -> None:
    model = models().read(stored(tmp_path / "m.sim.json", description(curve="v100/bert")))
    assert model.curve == shipped()["v100/bert"].curve


def test_a_description_may_hold_its_curve(tmp_path: Path) -> None:
    model = models().read(stored(tmp_path / "m.sim.json", description()))
    assert model.curve.batch_us(100, 2) == 3_000
    assert model.info == INFO
    assert model.weights_mib == 64


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "no description of a sim model"),
        (b"\xff\xfe", "no description of a sim model"),
        (b" " * ((1 << 20) + 1), "1048577 bytes"),
        (description(inputs=None), "missing required field `inputs`"),
        (description(wieghts_mib=1), "wieghts_mib is not known; did you mean weights_mib?"),
        (description(curve={"floor_us": 1, "work_us": 1, "knee": 2}), "curve.knee is not known"),
        (description(curve={"floor_us": 0, "work_us": 0}), "both 0"),
        (description(curve="v100/alexnet"), "curve is 'v100/alexnet', expected a curve or one of v100/bert"),
        (description(outputs=[]), "outputs is empty"),
        (description(inputs=[{"name": "x", "datatype": "FP32", "shape": [1]}] * 2), "inputs has a name twice"),
        (description(inputs=[{"name": "x", "datatype": "FP33", "shape": [1]}]), "inputs[0].datatype is 'FP33'"),
        (description(inputs=[{"name": "x", "datatype": "FP32", "shape": [0]}]), "inputs[0].shape is [0]"),
        (description(inputs=[{"name": "x", "datatype": "FP32", "shape": [1], "kind": 1}]), "inputs[0].kind"),
        (description(weights_mib=-1), "weights_mib is -1"),
        (description(load_ms=10**9), "load_ms is 1000000000, expected 0 to 600000"),
    ],
)
def test_a_description_that_cannot_be_used_says_what_is_wrong(
    content: dict[str, object] | bytes, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelFault) as fault:
        models().read(stored(tmp_path / "m.sim.json", content))
    assert words in fault.value.reason
    assert str(tmp_path) not in fault.value.reason


def test_another_formats_model_lends_its_signature_and_is_let_go(tmp_path: Path) -> None:
    runtime = FakeRuntime()
    model = models(runtime=runtime).read(onnx_file(tmp_path))
    assert model.info == INFO
    assert model.weights_mib == 10
    assert model.curve == shipped()[DEFAULT_CURVE].curve
    assert runtime.closed == 1


def test_a_measured_table_gives_a_model_its_speed(tmp_path: Path) -> None:
    model = onnx_file(tmp_path)
    write_table(tmp_path, model, 8_000)
    assert models(tmp_path).read(model).curve.batch_us(100, 1) == 8_000


def test_the_table_of_the_emulated_gpu_itself_goes_before_others(tmp_path: Path) -> None:
    model = onnx_file(tmp_path)
    write_table(tmp_path, model, 8_000, "gpu", ".a")
    write_table(tmp_path, model, 5_000, GPUS["v100"].kind, ".b")
    assert models(tmp_path).read(model).curve.batch_us(100, 1) == 5_000


@pytest.mark.parametrize(
    "content", ['{"points": 3}', "[", '{"model_digest": "x", "device_kind": "g", "state": "failed"}']
)
def test_a_table_that_cannot_be_used_is_named(content: str, tmp_path: Path) -> None:
    model = onnx_file(tmp_path)
    (tmp_path / f"{model.digest}.json").write_text(content)
    with pytest.raises(ModelFault, match=f"table {model.digest}.json"):
        models(tmp_path).read(model)


def test_the_host_has_a_sim_device_when_it_is_asked_for() -> None:
    assert discover("sim") == [DeviceName("sim", 0)]
    assert discover("auto") == [DeviceName("cpu", 0)]
    with pytest.raises(DeviceUnavailable, match="expected one of v100"):
        open_device(DeviceName("sim", 0), DeviceSettings(sim_gpu="abacus"))


def test_a_real_onnx_model_is_served_with_zeros(tmp_path: Path) -> None:
    device = open_device(DeviceName("sim", 0), DeviceSettings(sim_gpu="h200", sim_tables=str(tmp_path)))
    path = scaled(tmp_path / "m.onnx", 2.0)
    model = StoredModel(digest_of(path), path, "onnx")
    write_table(tmp_path, model, 900)
    session = device.open_session(model, Lane(ReplicaId("a"), tuple(range(device.chunks)), 64))
    ran = session.run({"x": np.ones((1, 8), np.float32)})
    assert ran.device_us == 900
    assert ran.outputs["y"].tolist() == [[0.0] * 8]
    session.close()


def test_the_example_is_a_function_whose_model_loads() -> None:
    definition = read_definition(EXAMPLE / "function.yaml")
    assert format_of(definition.model) == "sim"
    path = EXAMPLE / "resnet50.sim.json"
    model = models().read(StoredModel(digest_of(path), path, "sim"))
    assert model.info.is_batched
    assert definition.slice is not None
    assert model.weights_mib + model.own_mib <= definition.slice.gpu_mem_mib


def test_a_sim_model_is_known_by_its_files_name() -> None:
    assert format_of(ModelSource(file="a.sim.json")) == "sim"


def test_outputs_have_the_batchs_rows_and_lengths_that_inputs_tell() -> None:
    info = ModelInfo(
        inputs=(TensorSpec("ids", "INT64", (-1, -1)), TensorSpec("text", "BYTES", (-1, 1, -1))),
        outputs=(
            TensorSpec("scores", "FP16", (-1, -1)),  # the second axis of `ids`
            TensorSpec("text", "BYTES", (-1, -1, -1)),  # as the input of its name
            TensorSpec("boxes", "BOOL", (-1, 4, 4, -1)),  # no input tells
        ),
        metadata={},
    )
    feed = {"ids": np.zeros((3, 17), np.int64), "text": np.full((3, 1, 5), b"x", dtype=object)}
    made = blank_outputs(info, feed, rows_in(info, feed))
    assert {name: (array.shape, array.dtype.name) for name, array in made.items()} == {
        "scores": ((3, 17), "float16"),
        "text": ((3, 1, 5), "object"),
        "boxes": ((3, 4, 4, 1), "bool"),
    }
    assert set(made["text"].reshape(-1)) == {b""}


def test_a_model_that_knows_no_batches_runs_one_item() -> None:
    info = ModelInfo(inputs=(TensorSpec("x", "FP32", (2, 3)),), outputs=(TensorSpec("y", "FP32", (2, 3)),), metadata={})
    feed = {"x": np.zeros((2, 3), np.float32)}
    assert rows_in(info, feed) == 1
    assert blank_outputs(info, feed, 1)["y"].shape == (2, 3)


def test_inputs_of_different_lengths_are_no_batch() -> None:
    info = ModelInfo(
        inputs=(TensorSpec("a", "FP32", (-1,)), TensorSpec("b", "FP32", (-1,))),
        outputs=(TensorSpec("y", "FP32", (-1,)),),
        metadata={},
    )
    with pytest.raises(ModelFault, match="expected the same number"):
        rows_in(info, {"a": np.zeros(2, np.float32), "b": np.zeros(3, np.float32)})


def test_the_shipped_curves_are_a_document() -> None:
    assert json.dumps(sorted(shipped())) == '["v100/bert", "v100/gnmt", "v100/resnet50", "v100/rnnt"]'
