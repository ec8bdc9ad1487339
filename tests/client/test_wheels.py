"""Files out of wheels: from folders first, else by a real pip that is shown a folder instead of an index."""

import zipfile
from pathlib import Path

import pytest

from fastgshare.client.errors import SourceUnavailable
from fastgshare.client.wheels import Wheels, wheels_from

MEMBER = "my_models/data/model.onnx"


def make_wheel(folder: Path, version: str = "1.2") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"My_Models-{version}-py3-none-any.whl"
    info = f"my_models-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MEMBER, f"model {version}")
        archive.writestr("my_models/labels.txt", "a b")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: My.Models\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def test_folders_are_searched_in_order_by_normal_name_and_exact_version(tmp_path: Path, target: Path) -> None:
    make_wheel(tmp_path / "first", "1.1")
    make_wheel(tmp_path / "second", "1.2")
    wheels = Wheels([tmp_path / "absent", tmp_path / "first", tmp_path / "second"])
    extracted = wheels.file("my-models == 1.2", MEMBER, target)
    assert extracted == target / "model.onnx"
    assert extracted.read_text() == "model 1.2"


def test_a_missing_member_names_near_ones(tmp_path: Path, target: Path) -> None:
    make_wheel(tmp_path)
    with pytest.raises(SourceUnavailable, match=r"holds no file 'my_models/model.onnx'; nearest: my_models/data"):
        Wheels([tmp_path]).file("my.models==1.2", "my_models/model.onnx", target)


def test_an_unpinned_requirement_is_refused(target: Path) -> None:
    with pytest.raises(SourceUnavailable, match=r"expected name==version, as in magika==1\.0\.3"):
        Wheels([target]).file("my-models>=1", MEMBER, target)


def test_a_broken_wheel_is_told(tmp_path: Path, target: Path) -> None:
    make_wheel(tmp_path).write_bytes(b"PK?")
    with pytest.raises(SourceUnavailable, match="cannot be read"):
        Wheels([tmp_path]).file("my-models==1.2", MEMBER, target)


def test_what_no_folder_has_is_downloaded_once_and_kept(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = make_wheel(tmp_path / "index").parent
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    kept = tmp_path / "data" / "wheels"
    wheels = wheels_from({"FASTGSHARE_DATA_DIR": str(tmp_path / "data")})
    assert wheels.file("my-models==1.2", MEMBER, target).read_text() == "model 1.2"
    assert [path.name for path in kept.iterdir()] == ["My_Models-1.2-py3-none-any.whl"]
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "absent"))
    assert wheels.file("my-models==1.2", MEMBER, target).read_text() == "model 1.2"


def test_a_download_that_fails_gives_pips_reason(tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    wheels = wheels_from({"FASTGSHARE_WHEEL_CACHE": str(tmp_path / "a"), "FASTGSHARE_DATA_DIR": str(tmp_path)})
    with pytest.raises(SourceUnavailable, match=r"No matching distribution found for no-such-models==1\.0"):
        wheels.file("no-such-models==1.0", MEMBER, target)
