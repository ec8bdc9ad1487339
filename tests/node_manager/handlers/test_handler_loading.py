"""Code that does not make a handler is refused with a reason its author can act on."""

import os
import stat
import zipfile
from pathlib import Path

import pytest

from fastgshare.node_manager.bundle import MAX_UNPACKED_MIB, BundleInvalid, unpack_bundle
from fastgshare.node_manager.worker.handlers import HandlerBroken, HandlerLimits
from tests.node_manager.handlers.author import ACTOR, Author, act, in_s, method, refusal
from tests.node_manager.processes import on_uvloop

INIT = "    def __init__(self, context):\n        self.context = context\n"

UNUSABLE = {
    "an import that fails": (
        "import no_such_thing\n" + ACTOR,
        "importing handler.py raised ModuleNotFoundError: No module named 'no_such_thing' (handler.py:6)",
    ),
    "a syntax error": (
        "def f(:\n",
        "importing handler.py raised SyntaxError: invalid syntax (handler.py, line 6)",
    ),
    "an exit": ("sys.exit(3)", "importing handler.py raised SystemExit: 3 (handler.py:6)"),
    "no such class": (
        ACTOR.replace("class Actor", "class Actress"),
        "handler.py defines no class 'Actor'; it defines ['Actress']",
    ),
    "an exception in __init__": (
        ACTOR.replace("self.context = context", "raise OSError('no labels')"),
        "Actor(context) raised OSError: no labels (handler.py:12)",
    ),
    "no postprocess": (ACTOR.replace("def postprocess", "def after"), "class Actor has no method 'postprocess'"),
    "no inputs": (
        ACTOR.replace("inputs = [", "takes = ["),
        "class Actor: 'inputs' is missing, expected a list of TensorSpec",
    ),
    "inputs of another kind": (
        ACTOR.replace('[TensorSpec("act", "BYTES", (1,))]', '["act"]'),
        "class Actor: 'inputs' is not a list of TensorSpec: Expected `array`, got `str` - at `$[0]`",
    ),
    "no outputs at all": (
        ACTOR.replace('[TensorSpec("said", "BYTES", (-1,))]', "[]"),
        "class Actor: 'outputs' needs at least one tensor, each with a name of its own, got []",
    ),
    "a datatype that is not served": (
        ACTOR.replace('"said", "BYTES"', '"said", "STRING"'),
        (
            "class Actor: 'outputs': 'said' has datatype STRING, expected one of "
            "BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, FP32, FP64, BYTES"
        ),
    ),
    "a process that ends": ("os._exit(7)", "its process ended while loading it: exit status 7"),
}


@pytest.mark.parametrize("case", UNUSABLE)
@on_uvloop
async def test_an_unusable_handler_is_refused_with_its_reason(author: Author, case: str) -> None:
    source, reason = UNUSABLE[case]
    author.write(source)
    with pytest.raises(HandlerBroken) as refused:
        async with author.open():
            pass
    assert refused.value.reason == reason
    assert not author.workdir.exists()


@on_uvloop
async def test_a_missing_file_is_refused_with_what_there_is(author: Author) -> None:
    author.write(ACTOR, files={"labels/cats.txt": "tom"})
    with pytest.raises(HandlerBroken) as refused:
        async with author.open(module="main.py"):
            pass
    assert refused.value.reason == ("the bundle holds no file 'main.py'; it holds ['handler.py', 'labels/cats.txt']")


@on_uvloop
async def test_loading_has_an_end_and_tells_where_it_is_stuck(author: Author) -> None:
    author.write("def wait_for_ever():\n    time.sleep(3600)\nwait_for_ever()\n")
    with pytest.raises(HandlerBroken) as refused:
        async with author.open(limits=HandlerLimits(load_s=3)):
            pass
    assert refused.value.reason == "loading it took more than 3 s"
    assert author.logged("in wait_for_ever")


@on_uvloop
async def test_modules_of_the_bundle_may_be_imported_also_under_names_already_taken(author: Author) -> None:
    author.write(
        "import labels\n"
        + ACTOR
        + method("""
        def tell(self): raise BadInput(labels.FIRST + " " + __name__)
        """),
        files={"labels.py": "FIRST = 'tabby'"},
    )
    with zipfile.ZipFile(author.bundle, "a") as archive:
        archive.writestr("msgspec.py", archive.read("handler.py"))
    async with author.open(module="msgspec.py") as handler:
        told = refusal(await handler.preprocess(act("tell"), in_s(20)))
        assert told.message == "tabby handler_msgspec"


@on_uvloop
async def test_a_failure_in_the_body_leaves_the_handler_as_it_is(author: Author) -> None:
    author.write(ACTOR)
    with pytest.raises(KeyError, match="mine"):
        async with author.open():
            raise KeyError("mine")
    assert not author.workdir.exists()


def archive_with(path: Path, name: str, mode: int = 0o644) -> Path:
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("handler.py", "")
        archive.writestr(member, "target")
    return path


@pytest.mark.parametrize(
    ("name", "mode", "problem"),
    [
        ("../out.py", 0o644, "points out of the bundle"),
        ("a/../../out.py", 0o644, "points out of the bundle"),
        ("/etc/out.py", 0o644, "points out of the bundle"),
        ("a\\..\\out.py", 0o644, "points out of the bundle"),
        ("link", stat.S_IFLNK | 0o777, "is a symbolic link"),
    ],
)
def test_nothing_is_unpacked_outside(tmp_path: Path, name: str, mode: int, problem: str) -> None:
    bundle = archive_with(tmp_path / "bundle.zip", name, mode)
    with pytest.raises(BundleInvalid, match=problem):
        unpack_bundle(bundle, tmp_path / "room" / "bundle")
    assert sorted(os.listdir(tmp_path)) == ["bundle.zip"]


def test_an_archive_that_unpacks_to_too_much_is_refused_unread(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.zip"
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(MAX_UNPACKED_MIB // 128 + 1):
            with archive.open(f"{number}", "w") as member:
                for _ in range(128):
                    member.write(bytes(1 << 20))
    with pytest.raises(BundleInvalid, match="unpacks to 1152 MiB, at most 1024 MiB"):
        unpack_bundle(bundle, tmp_path / "room")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.zip"
    bundle.write_bytes(b"not a zip")
    with pytest.raises(BundleInvalid, match="File is not a zip file"):
        unpack_bundle(bundle, tmp_path / "room")
