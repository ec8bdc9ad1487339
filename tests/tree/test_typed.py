"""msgspec learns types in one room alone: elsewhere nothing decodes or converts into a type by its own hand."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOM = ROOT / "shared/src/fastgshare/shared/typed.py"
TREES = ("shared", "cli", "services", "simulator", "examples", "benchmarks", "scripts")
LEARNERS = {"Decoder", "convert"}
FORMATS = {"json", "msgpack", "toml", "yaml"}
"""Whose own names would hide that they are msgspec's."""


def learned_in(code: str) -> Iterator[str]:
    """Each place where msgspec is given a type: `line: what`."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "msgspec":
            for alias in node.names:
                if alias.name in LEARNERS | FORMATS | {"decode"}:
                    yield f"{node.lineno}: from {node.module} import {alias.name}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            called = ast.unparse(node.func)
            is_msgspecs = called.startswith("msgspec.")
            has_type = any(keyword.arg in ("type", None) for keyword in node.keywords)
            if (is_msgspecs and node.func.attr in LEARNERS) or (node.func.attr == "decode" and has_type):
                yield f"{node.lineno}: {called}"


@pytest.mark.parametrize("tree", TREES)
def test_types_are_learned_in_their_room_alone(tree: str) -> None:
    paths = [path for path in sorted((ROOT / tree).rglob("*.py")) if path != ROOM]
    assert paths
    found = [f"{path.relative_to(ROOT)}:{what}" for path in paths for what in learned_in(path.read_text())]
    assert found == [], "these go through fastgshare.shared.typed"


@pytest.mark.parametrize(
    "code",
    [
        "import msgspec\nmsgspec.convert(raw, Kind)",
        "import msgspec\nmsgspec.json.decode(text, type=Kind)",
        "import msgspec\nmsgspec.msgpack.Decoder(Kind)",
        "from msgspec import convert",
        "from msgspec.json import decode",
        "from msgspec.msgpack import Decoder",
        "from msgspec import json\njson.Decoder(Kind)",
    ],
)
def test_every_way_of_giving_msgspec_a_type_is_seen(code: str) -> None:
    assert len(list(learned_in(code))) == 1


def test_what_needs_no_type_is_let_through() -> None:
    assert not list(learned_in("import msgspec\nmsgspec.json.decode(text)\ntext.decode()\nmsgspec.to_builtins(raw)"))


def test_the_room_is_one_that_learns() -> None:
    assert list(learned_in(ROOM.read_text()))
