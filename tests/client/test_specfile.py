"""Reading a function's YAML: good ones, and what people get wrong."""

from pathlib import Path

import pytest

from fastgshare.client.definition import FunctionDefinition, HandlerSource, ModelSource, WheelFile, spec_of
from fastgshare.client.specfile import parse_definition, read_definition
from fastgshare.shared.errors import InvalidSpec
from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import Autoscale, ModelRef, Slice

WHOLE = """
name: magika
model:
  wheel: magika==1.0.3
  path: magika/models/standard_v3_3/model.onnx
handler:
  file: handler.py
  class: FileType
  files: [labels.txt, {wheel: magika==1.0.3, path: magika/config.json}]
slo_ms: 150
max_batch: 4
autoscale: {min: 0, max: 2}
slice: {sm_partition: 50, quota_request: 0.5}
sample: sample.bin
labels: {team: files}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidSpec) as caught:
        parse_definition(text)
    return caught.value.problems


def test_a_whole_definition_is_read() -> None:
    assert parse_definition(WHOLE) == FunctionDefinition(
        name="magika",
        model=ModelSource(wheel="magika==1.0.3", path="magika/models/standard_v3_3/model.onnx"),
        handler=HandlerSource(
            file="handler.py",
            class_name="FileType",
            files=("labels.txt", WheelFile(wheel="magika==1.0.3", path="magika/config.json")),
        ),
        slo_ms=150.0,
        max_batch=4,
        autoscale=Autoscale(min=0, max=2),
        slice=Slice(sm_partition=50, quota_request=0.5),
        sample="sample.bin",
        labels={"team": "files"},
    )


def test_unknown_keys_are_all_named_with_the_known_ones() -> None:
    text = """
    name: echo
    model: {file: echo.onnx, sha: "12"}
    slo: 5
    slice: {sm: 3}
    handler: {file: h.py, class: H, files: [{wheel: a==1, pth: b}]}
    """
    model, slo, held, extra = problems(text)
    assert model.startswith(
        "model.sha is not known; did you mean sha256? known keys: file, wheel, path, sha256, format"
    )
    assert slo.startswith("slo is not known; did you mean slo_ms? known keys: name, model, handler, slo_ms")
    assert held.startswith("slice.sm is not known; known keys: sm_partition, quota_request")
    assert extra == "handler.files[0].pth is not known; did you mean path? known keys: wheel, path"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "expected keys such as name and model, found nothing"),
        ("- a", "expected keys such as name and model, found a list"),
        ("a: b: c", "line 1, column 5: not YAML: mapping values are not allowed here"),
        ("name: a\nmodel: {file: a.onnx}\nslo_ms: fast", "slo_ms: expected 'float', got 'str'"),
        ("name: a\nmodel: {file: a.onnx}\nslice: {sm_partition: 1.5}", "slice.sm_partition: expected 'int'"),
        ("name: a", "model is missing: expected file, or wheel and path"),
        ("name: a\nmodel: {}", "model: neither of file and wheel given, expected exactly one"),
        ("name: a\nmodel: {file: a.onnx, wheel: b==1, path: c.onnx}", "model: both of file and wheel given"),
        ("name: a\nmodel: {wheel: b==1}", "model: wheel and path go together"),
        ("name: a\nmodel: {file: a.pt}", "model is 'a.pt', expected a name ending in .onnx"),
        ("name: a\nmodel: {file: a.onnx, format: pickle}", "model.format is 'pickle', expected one of onnx"),
        (
            "name: a\nmodel: {file: a.onnx, weights: w.safetensors}",
            "model.weights is given, expected none: it goes with",
        ),
        ("name: a\nmodel: {file: a.pt2, factory: 'a:b'}", "model.factory is given, expected none: it goes with"),
        ("name: a\nmodel: {file: m.py, weights: w.safetensors}", "model.factory is missing, expected m:name for what"),
        (
            "name: a\nmodel: {file: sub/m.py, factory: 'n:make', weights: w.safetensors}",
            "model.factory is 'n:make', expected m:name for what in m.py makes the module",
        ),
        ("name: a\nmodel: {file: m.py, factory: 'm:make'}", "model.weights is missing, expected a file that ends in"),
        ("name: a\nmodel: {file: m.py, factory: 'm:make', weights: w.pt}", "model.weights is 'w.pt', expected a file"),
        (
            "name: a\nmodel: {file: a b.py, factory: 'a:make', weights: w.safetensors}",
            "model is 'a b.py', expected a Python file for format torch",
        ),
        ("name: A b\nmodel: {file: a.onnx}", "name is 'A b', expected lower-case letters"),
        ("name: a\nmodel: {file: a.onnx}\nmax_batch: 0", "max_batch is 0, expected 1 to 1024"),
        ("name: a\nmodel: {file: a.onnx}\nreplicas: 1\nautoscale: {max: 2}", "both of replicas and autoscale"),
        ("name: a\nmodel: {file: a.onnx}\nhandler: {file: h.txt, class: H}", "handler.module is 'h.txt'"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, sentence: str) -> None:
    assert problems(text)[0].startswith(sentence)


def test_a_torch_model_is_read() -> None:
    text = """
    name: mine
    model:
      file: model.py
      factory: model:make
      weights: weights.safetensors
      files: [layers.py, {wheel: a==1, path: b.txt}]
    """
    assert parse_definition(text).model == ModelSource(
        file="model.py",
        factory="model:make",
        weights="weights.safetensors",
        files=("layers.py", WheelFile(wheel="a==1", path="b.txt")),
    )


def test_without_a_count_there_is_one_replica_and_several_problems_come_together() -> None:
    assert len(problems("name: A\nmodel: {file: a.onnx}\nslo_ms: -1\nmax_batch: 0")) == 3


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="cannot read it: No such file or directory"):
        read_definition(tmp_path / "missing.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidSpec, match="cannot read it: not a text file"):
        read_definition(tmp_path / "binary.yaml")


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("autoscale: {max: 2}", "objective"),
        ("autoscale: {max: 2}\nslice: {gpu_mem_mib: 64}", ""),
        ("autoscale: {max: 2, policy: paper}\nslice: {gpu_mem_mib: 64}", "paper"),
        ("autoscale: {max: 2, policy: fixed}", "fixed"),
    ],
)
def test_who_gives_no_slice_leaves_slices_to_the_scheduler(text: str, policy: str) -> None:
    definition = parse_definition(f"name: a\nmodel: {{file: a.onnx}}\n{text}")
    spec = spec_of(definition, ModelRef(digest=Digest("0" * 64), size_bytes=1), None, None)
    assert spec.autoscale == Autoscale(max=2, policy=policy)
    assert spec.slice == (definition.slice or Slice())
