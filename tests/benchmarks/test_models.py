"""The benchmark models are what their papers say, are made alike every time, and answer alike in every format."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="torch is optional: `make torch` installs it")
pytest.importorskip("safetensors", reason="torch is optional: `make torch` installs it")

from benchmarks.models import catalog, export  # noqa: E402
from benchmarks.models.__main__ import main  # noqa: E402
from fastgshare.client.bundle import assemble  # noqa: E402
from fastgshare.client.specfile import read_definition  # noqa: E402
from fastgshare.client.wheels import Wheels  # noqa: E402
from fastgshare.node_manager.devices.ports import StoredModel  # noqa: E402
from fastgshare.node_manager.devices.torch_runtime import TorchRuntime  # noqa: E402
from fastgshare.node_manager.worker.samples import one_row, read_sample  # noqa: E402
from fastgshare.shared.arrays import Array  # noqa: E402
from fastgshare.shared.objects import digest_of  # noqa: E402

FAMILIES = ("resnext50", "bert_large", "vit_b16", "gnmt", "rnnt")


def answers(name: str, feed: dict[str, Array]) -> list[Array]:
    """What the model itself says."""
    with torch.inference_mode():
        returned = catalog.build(name, "tiny")(*(torch.from_numpy(array.copy()) for array in feed.values()))
    return [tensor.numpy() for tensor in (returned if isinstance(returned, tuple) else (returned,))]


def check(outputs: dict[str, Array], name: str, feed: dict[str, Array]) -> None:
    _, specs = catalog.signature(catalog.build(name, "tiny"))
    assert list(outputs) == [spec.name for spec in specs]
    for found, expected in zip(outputs.values(), answers(name, feed), strict=True):
        assert found.dtype == expected.dtype
        assert np.allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("resnet50", 25_557_032),
        ("resnet152", 60_192_808),
        ("resnext50", 25_028_904),
        ("bert_large", 334_094_338),
        ("vit_b16", 86_567_656),
        ("vit_h14", 632_045_800),
        ("gnmt", 197_961_280),
        ("rnnt", 45_323_869),
    ],
)
def test_at_full_size_a_model_has_its_published_number_of_parameters(name: str, count: int) -> None:
    assert catalog.parameters(name, "full") == count


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_is_made_alike_every_time_and_disturbs_no_other_random_numbers(name: str) -> None:
    torch.manual_seed(1)
    first = catalog.build(name, "tiny").state_dict()
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn)
    second = catalog.build(name, "tiny").state_dict()
    assert all(torch.equal(first[key], second[key]) for key in second)


@pytest.mark.parametrize("name", FAMILIES)
def test_outputs_are_those_of_the_signature_in_every_size_that_tests_can_afford(name: str) -> None:
    for size in ("tiny", "small"):
        module = catalog.build(name, size)
        with torch.inference_mode():
            returned = module(*(torch.from_numpy(array) for array in catalog.sample(module, 2).values()))
        returned = returned if isinstance(returned, tuple) else (returned,)
        _, specs = catalog.signature(module)
        assert [tuple(tensor.shape) for tensor in returned] == [(2, *spec.shape[1:]) for spec in specs]


@pytest.mark.parametrize("name", FAMILIES)
def test_onnx_runtime_answers_as_torch_does_for_any_batch(name: str, tmp_path: Path) -> None:
    export.export(name, "tiny", "onnx", tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / f"{name}.onnx")
    for rows in (1, 3):
        feed = catalog.sample(catalog.build(name, "tiny"), rows)
        outputs = session.run(None, feed)
        names = [output.name for output in session.get_outputs()]
        check(dict(zip(names, outputs, strict=True)), name, feed)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("form", ["torch", "torch_export"])
def test_a_deployed_model_answers_as_torch_does_for_any_batch(name: str, form: str, tmp_path: Path) -> None:
    definition = read_definition(export.export(name, "tiny", form, tmp_path, slo_ms=50))
    assert definition.slo_ms == 50
    (tmp_path / "scratch").mkdir()
    bundle = assemble(definition, tmp_path, tmp_path / "scratch", Wheels([]))
    file = bundle.model
    model = TorchRuntime().load(StoredModel(digest_of(file), file, form, definition.model.factory or ""))
    module = catalog.build(name, "tiny")
    assert (list(model.info.inputs), list(model.info.outputs)) == catalog.signature(module)
    session = model.session(1)
    for rows in (1, 3):
        feed = catalog.sample(module, rows)
        check(session.run(feed), name, feed)
    assert bundle.sample is not None
    sample = one_row(read_sample(bundle.sample, model.info.inputs), model.info)
    check(session.run(sample), name, sample)


def test_what_a_format_cannot_hold_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "ONNX_MOST_MIB", 0)
    assert main(["export", "vit_b16", "--format", "onnx", "--to", str(tmp_path)]) == 1
    assert "an ONNX file holds 2 GiB" in capsys.readouterr().err
    assert main(["export", "vit_b16", "--to", str(tmp_path)]) == 0
    assert f"fastgshare deploy {tmp_path / 'function.yaml'}" in capsys.readouterr().out
