"""From a definition to stored content."""

import os
import zipfile
from pathlib import Path

import pytest
from msgspec.structs import replace

from fastgshare.client.bundle import assemble, store
from fastgshare.client.definition import FunctionDefinition, HandlerSource, ModelSource
from fastgshare.client.errors import SourceUnavailable
from fastgshare.client.wheels import Wheels
from fastgshare.shared.bus import BusConfig, open_bus
from fastgshare.shared.errors import InvalidSpec
from fastgshare.shared.objects import Objects, digest_of
from fastgshare.shared.storage import ensure_storage
from tests.natsd import Natsd

DEFINITION = FunctionDefinition(
    name="echo",
    model=ModelSource(file="models/echo.onnx"),
    handler=HandlerSource(file="code/handler.py", class_name="Echo", files=("labels.txt",)),
    sample=("one.bin", "two.bin"),
)

TORCH = FunctionDefinition(
    name="mine",
    model=ModelSource(file="model.py", factory="model:make", weights="trained.safetensors", files=("layers.py",)),
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder in ("project/models", "project/code", "scratch-a", "scratch-b"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("models/echo.onnx", "code/handler.py", "labels.txt", "one.bin", "two.bin"):
        (tmp_path / "project" / name).write_text(name)
    return tmp_path / "project"


def test_the_same_files_give_the_same_zip_whenever_they_were_written(project: Path) -> None:
    first = assemble(DEFINITION, project, project.parent / "scratch-a", Wheels([]))
    for file in project.rglob("*.*"):
        os.utime(file, (1, 1))
    second = assemble(DEFINITION, project, project.parent / "scratch-b", Wheels([]))
    assert first.handler is not None
    assert second.handler is not None
    assert digest_of(first.handler) == digest_of(second.handler)
    assert zipfile.ZipFile(first.handler).namelist() == ["handler.py", "labels.txt"]


def test_a_torch_model_becomes_one_zip_that_its_content_alone_names(project: Path) -> None:
    for name in ("model.py", "layers.py", "trained.safetensors"):
        (project / name).write_text(name)
    first = assemble(TORCH, project, project.parent / "scratch-a", Wheels([])).model
    for file in project.rglob("*.*"):
        os.utime(file, (1, 1))
    (project / "trained.safetensors").rename(project / "elsewhere.safetensors")
    moved = replace(TORCH, model=replace(TORCH.model, weights="elsewhere.safetensors"))
    second = assemble(moved, project, project.parent / "scratch-b", Wheels([])).model
    assert digest_of(first) == digest_of(second)
    archive = zipfile.ZipFile(first)
    assert archive.namelist() == ["factory.txt", "layers.py", "model.py", "weights.safetensors"]
    assert archive.read("factory.txt") == b"model:make\n"
    assert archive.read("weights.safetensors") == b"trained.safetensors"
    (project.parent / "scratch-c").mkdir()
    other = replace(TORCH, model=replace(TORCH.model, weights="elsewhere.safetensors", factory="model:other"))
    assert digest_of(assemble(other, project, project.parent / "scratch-c", Wheels([])).model) != digest_of(first)


def test_no_file_of_a_torch_model_can_take_the_place_of_its_weights(project: Path) -> None:
    for name in ("model.py", "trained.safetensors", "weights.safetensors"):
        (project / name).write_text(name)
    model = replace(TORCH.model, files=("weights.safetensors",))
    with pytest.raises(InvalidSpec, match=r"model\.files: two files are called 'weights\.safetensors'"):
        assemble(replace(TORCH, model=model), project, project.parent / "scratch-a", Wheels([]))


@pytest.mark.parametrize(
    ("definition", "sentence"),
    [
        (replace(DEFINITION, model=ModelSource(file="echo.onnx")), r"model\.file: there is no file .*echo\.onnx"),
        (replace(DEFINITION, sample="models"), r"sample: .*models is a directory, expected a file"),
        (
            replace(DEFINITION, model=ModelSource(file="models/echo.onnx", sha256="AB" * 32)),
            r"echo\.onnx: has SHA-256 [0-9a-f]{64}, expected (AB){32}",
        ),
    ],
)
def test_a_file_that_is_not_the_one_meant_is_told(project: Path, definition: FunctionDefinition, sentence: str) -> None:
    with pytest.raises(SourceUnavailable, match=sentence):
        assemble(definition, project, project.parent / "scratch-a", Wheels([]))


def test_two_files_of_one_name_cannot_lie_beside_the_handler(project: Path) -> None:
    (project / "code" / "labels.txt").write_text("others")
    handler = HandlerSource(file="code/handler.py", class_name="Echo", files=("labels.txt", "code/labels.txt"))
    with pytest.raises(InvalidSpec, match=r"handler\.files: two files are called 'labels\.txt'"):
        assemble(replace(DEFINITION, handler=handler), project, project.parent / "scratch-a", Wheels([]))


async def test_a_torch_model_is_stored_with_its_factory(nats: Natsd, project: Path) -> None:
    for name in ("model.py", "layers.py", "trained.safetensors"):
        (project / name).write_text(name)
    bundle = assemble(TORCH, project, project.parent / "scratch-a", Wheels([]))
    async with open_bus(BusConfig(url=nats.url)) as bus:
        await ensure_storage(bus)
        model = (await store(bundle, Objects(bus))).model
        assert (model.format, model.factory, model.source) == ("torch", "model:make", "model.py")
        assert model.digest == digest_of(bundle.model)


async def test_what_is_stored_is_named_by_its_content(nats: Natsd, project: Path) -> None:
    bundle = assemble(DEFINITION, project, project.parent / "scratch-a", Wheels([]))
    async with open_bus(BusConfig(url=nats.url)) as bus:
        await ensure_storage(bus)
        spec = await store(bundle, Objects(bus))
        assert spec.model.digest == digest_of(project / "models/echo.onnx")
        assert (spec.model.format, spec.model.source, spec.replicas) == ("onnx", "echo.onnx", 1)
        assert spec.handler is not None
        assert (spec.handler.module, spec.handler.class_name) == ("handler.py", "Echo")
        for digest in (spec.model.digest, spec.handler.digest, spec.sample):
            assert digest is not None
            assert await Objects(bus).holds(digest)
