"""Loading torch models: weights come from the file alone, models keep apart, and what does not load says why."""

import dataclasses
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.ports import StoredModel
from fastgshare.node_manager.devices.torch_models import load_module
from fastgshare.shared.handler import TensorSpec
from tests.node_manager.devices.torch.authored import SCALING, cached, exported, scaled, stored, torch

HEAD = "import torch\nfrom fastgshare.shared.handler import TensorSpec\n"
SIGNED = (
    HEAD
    + """
class Base(torch.nn.Module):
    inputs = [TensorSpec("x", "FP32", (-1, 8))]
    outputs = [TensorSpec("y", "FP32", (-1, 8))]
"""
)
# Its parameters are one, it keeps tensors in all the places there are, and one is made from the values of a parameter.
KEEPING = (
    SIGNED
    + """
class Model(Base):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.full((8,), 5.0))
        self.register_buffer("told", torch.zeros(8))
        self.register_buffer("hidden", torch.arange(8.0), persistent=False)
        self.plain = [torch.ones(8)]
        self.seen = {derived}

    def forward(self, x):
        return x * self.scale + self.told + self.hidden + self.plain[0]


def make():
    return Model()
"""
)


def fault(model: StoredModel) -> str:
    with pytest.raises(ModelFault) as caught:
        load_module(model)
    return caught.value.reason


@pytest.mark.parametrize("derived", ["0", "self.scale.sum()", "float(self.scale.sum())"])
def test_weights_are_the_files_and_everything_else_is_what_the_factory_made(tmp_path: Path, derived: str) -> None:
    weights = scaled(3.0) | {"told": torch.full((8,), 0.5)}
    module = load_module(stored(tmp_path, KEEPING.format(derived=derived), weights)).module
    expected = 3.0 + 0.5 + torch.arange(8.0) + 1.0
    assert torch.equal(module(torch.ones(1, 8)), expected[None])
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_weights_are_mapped_and_not_read_into_memory(tmp_path: Path) -> None:
    loaded = load_module(stored(tmp_path, KEEPING.format(derived="0"), scaled(3.0) | {"told": torch.zeros(8)}))
    mapped = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path) in line]
    ranges = [[int(end, 16) for end in line[0].split("-")] for line in mapped]
    for tensor in (loaded.module.scale, loaded.module.told):
        assert any(start <= tensor.data_ptr() < end for start, end in ranges)
    assert loaded.weights_mib == pytest.approx(3 * 8 * 4 / 2**20)  # `hidden` too


def test_two_models_with_files_of_one_name_keep_apart(tmp_path: Path) -> None:
    beside = "from .layer import FACTOR\n" + SCALING.replace("x * self.scale", "x * self.scale * FACTOR")
    path = list(sys.path)
    first = load_module(stored(tmp_path, beside, files={"layer.py": "FACTOR = 10"}))
    second = load_module(stored(tmp_path, beside, files={"layer.py": "FACTOR = 100"}))
    x = torch.ones(1, 8)
    assert (first.module(x)[0, 0], second.module(x)[0, 0]) == (20, 200)
    assert sys.path == path
    assert not {"model", "layer"} & set(sys.modules)


def test_another_factory_of_the_same_files_is_another_model(tmp_path: Path) -> None:
    code = SCALING + "\n\ndef other():\n    return Scaling()\n"
    model, other = (stored(tmp_path, code, factory=f"model:{name}") for name in ("make", "other"))
    assert model.digest != other.digest
    assert "its factory is 'model:other', but its bundle was made for 'model:make'" in fault(
        dataclasses.replace(model, factory="model:other")
    )


def test_a_tied_parameter_lies_in_the_file_once(tmp_path: Path) -> None:
    code = SCALING.replace("        self.scale =", "        self.again = self.scale =")
    loaded = load_module(stored(tmp_path, code, {"again": torch.full((8,), 4.0)}))
    assert torch.equal(loaded.module(torch.ones(1, 8)), torch.full((1, 8), 4.0))
    assert loaded.weights_mib == pytest.approx(8 * 4 / 2**20)


def test_inputs_come_in_the_order_of_forward(tmp_path: Path) -> None:
    code = SCALING.replace("forward(self, x)", "forward(self, x, less, more=None)").replace(
        '[TensorSpec("x", "FP32", (-1, 8))]', '[TensorSpec("less", "FP32", (-1, 8)), TensorSpec("x", "FP32", (-1, 8))]'
    )
    assert [spec.name for spec in load_module(stored(tmp_path, code)).info.inputs] == ["x", "less"]


def test_many_threads_may_load_at_once(tmp_path: Path) -> None:
    models = [stored(tmp_path, weights=scaled(float(scale))) for scale in range(1, 7)] * 2
    found: dict[int, float] = {}

    def load(index: int) -> None:
        found[index] = float(load_module(models[index]).module(torch.ones(1, 8))[0, 0])

    threads = [threading.Thread(target=load, args=(index,)) for index in range(len(models))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {index: index % 6 + 1.0 for index in range(len(models))}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import no_such_thing\n", "importing model.py raised ModuleNotFoundError: No module named 'no_such_thing'"),
        ("import layer\n", "it lies beside the model: `from . import layer`"),
        ("raise SystemExit('no')\n", "importing model.py raised SystemExit: no (model.py:1)"),
        ("def build():\n    pass\n", "model.py has no 'make' to call; it defines ['build']"),
        ("def make():\n    return 3\n", "model:make returned int, expected a torch.nn.Module"),
        (
            "def make():\n    return 1 / 0\n",
            "calling model:make raised ZeroDivisionError: division by zero (model.py:2)",
        ),
        ("def make(size):\n    pass\n", "calling model:make raised TypeError"),
        (SCALING.replace("outputs =", "other ="), "Scaling.outputs is missing, expected a list of TensorSpec"),
        (SCALING.replace('[TensorSpec("x", "FP32", (-1, 8))]', "'x'"), "Scaling.inputs is not a list of TensorSpec"),
        (SCALING.replace("FP32", "BYTES"), "'x' has datatype BYTES, expected one of BOOL, UINT8"),
        (SCALING.replace("forward(self, x)", "forward(self, x, y)"), "Scaling.forward needs 'y', which is not among"),
        (SCALING.replace("forward(self, x)", "forward(self, y=1)"), "Scaling.forward takes no 'x', which it declares"),
        (SCALING.replace("forward(self, x)", "forward(self, *, x)"), "takes 'x' by keyword only"),
        (
            SCALING.replace("    def forward", "    def eval(self):\n        return self.missing\n\n    def forward"),
            "loading its weights raised AttributeError: 'Scaling' object has no attribute 'missing' (model.py:",
        ),
        (SCALING.replace("torch.ones(8)", "torch.ones(9)"), "it has in another shape scale"),
        (SCALING.replace("self.scale", "self.factor"), "it misses factor; it has, but the module lacks, scale"),
    ],
)
def test_a_model_that_does_not_load_says_why(tmp_path: Path, code: str, words: str) -> None:
    reason = fault(stored(tmp_path, code, files={"layer.py": ""}))
    assert words in reason
    assert str(tmp_path) not in reason


def test_an_archive_that_is_none_of_ours_says_why(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("model.py", SCALING)
    assert "its bundle holds no factory.txt" in fault(cached(tmp_path, tmp_path / "a.zip", "torch", "model:make"))
    (tmp_path / "b.zip").write_bytes(b"no zip")
    assert "its bundle cannot be unpacked: File is not a zip" in fault(cached(tmp_path, tmp_path / "b.zip", "torch"))
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("../out.py", SCALING)
    assert "'../out.py' points out of the bundle" in fault(cached(tmp_path, tmp_path / "c.zip", "torch"))
    assert not (tmp_path / "out.py").exists()
    assert not list((tmp_path / "cache").glob(".unpacking-*"))
    model = stored(tmp_path)
    load_module(model)
    (tmp_path / "cache" / f"{model.digest}.unpacked" / "weights.safetensors").write_bytes(b"short")
    assert "its weights are no safetensors file" in fault(model)


def test_a_device_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelFault, match="its weights do not go to cuda:99"):
        load_module(stored(tmp_path), "cuda:99")


def test_a_program_tells_its_signature_and_takes_inputs_by_position(tmp_path: Path) -> None:
    class Sum(torch.nn.Module):
        def forward(self, x: torch.Tensor, *, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x * scale, x.sum(1).long()

    free = {0: torch.export.Dim.DYNAMIC}
    example = (torch.ones(2, 3),), {"scale": torch.ones(2, 1)}
    program = torch.export.export(Sum(), *example, dynamic_shapes={"x": free, "scale": free})
    loaded = load_module(exported(tmp_path, program))
    assert loaded.info.inputs == (TensorSpec("x", "FP32", (-1, 3)), TensorSpec("scale", "FP32", (-1, 1)))
    assert loaded.info.outputs == (TensorSpec("output_0", "FP32", (-1, 3)), TensorSpec("output_1", "INT64", (-1,)))
    outputs = loaded.by_name(loaded.module(torch.ones(5, 3), torch.full((5, 1), 2.0)))
    assert torch.equal(outputs["output_0"], torch.full((5, 3), 2.0))
    assert loaded.weights_mib == 0


def test_a_file_that_holds_no_program_says_why(tmp_path: Path) -> None:
    (tmp_path / "a.pt2").write_bytes(b"nothing")
    assert "it is no archive" in fault(cached(tmp_path, tmp_path / "a.pt2", "torch_export"))

    class Both(torch.nn.Module):
        def forward(self, pair: list[torch.Tensor]) -> torch.Tensor:
            return pair[0] + pair[1]

    program = torch.export.export(Both(), ([torch.ones(2), torch.ones(2)],))
    assert "its inputs are lists or dicts of tensors" in fault(exported(tmp_path, program))


def test_what_was_returned_is_held_to_the_signature(tmp_path: Path) -> None:
    loaded = load_module(stored(tmp_path))
    y = torch.ones(1)
    assert loaded.by_name({"y": y, "more": y}) == {"y": y}
    assert loaded.by_name((y,)) == {"y": y}
    for returned, words in (
        ({"z": y}, r"it returned no y, but a dict with \['z'\]"),
        ([y, y], "it returned 2 tensors, its signature has 1"),
        (3, "it returned a int as output 'y', expected a tensor"),
    ):
        with pytest.raises(ModelFault, match=words):
            loaded.by_name(returned)


def test_a_device_opens_without_torch_and_a_model_then_says_what_is_missing(tmp_path: Path) -> None:
    script = f"""
import sys
sys.modules["torch"] = None  # as if it were not installed
from pathlib import Path
from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.ports import StoredModel
from fastgshare.node_manager.config import DeviceSettings
from fastgshare.node_manager.devices.catalog import CPU, DeviceName, open_device
from fastgshare.node_manager.devices.ports import Lane
device = open_device(DeviceName(CPU, 0), DeviceSettings())
try:
    device.open_session(StoredModel("0" * 64, Path("{tmp_path}"), "torch", "model:make"), Lane("a", (0,), 256))
except ModelFault as fault:
    print(fault.reason)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True).stdout
    assert "this model needs torch and safetensors, which this node lacks" in told
    assert "install the extra fastgshare-node-manager[torch]" in told
