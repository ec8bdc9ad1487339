"""Reads the YAML of a function. Every problem is told at once, each with its place and what was expected."""

from pathlib import Path

import msgspec

from fastgshare.client.definition import FunctionDefinition, problems_in
from fastgshare.shared.errors import InvalidSpec
from fastgshare.shared.strict import unknown_keys
from fastgshare.shared.typed import convert
from fastgshare.shared.yaml_text import parsed


def read_definition(path: Path) -> FunctionDefinition:
    """The definition in a YAML file.

    Raises:
        InvalidSpec: it cannot be read, or is not one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise InvalidSpec([f"cannot read it: {reason}"]) from error
    return parse_definition(text)


def parse_definition(text: str) -> FunctionDefinition:
    """The definition in a YAML text. Raises InvalidSpec."""
    raw = parsed(text)
    if not isinstance(raw, dict):
        raise InvalidSpec([f"expected keys such as name and model, found {_kind(raw)}"])
    if unknown := list(unknown_keys(raw, FunctionDefinition)):
        raise InvalidSpec(unknown)
    if raw.get("model") is None:
        raise InvalidSpec(["model is missing: expected file, or wheel and path"])
    try:
        definition = convert(FunctionDefinition, raw)
    except msgspec.ValidationError as error:
        raise InvalidSpec([_placed(str(error))]) from error
    if problems := problems_in(definition):
        raise InvalidSpec(problems)
    return definition


def _kind(raw: object) -> str:
    return "nothing" if raw is None else f"a {type(raw).__name__}"


def _placed(message: str) -> str:
    """msgspec's "Expected ..., got ... - at `$.a.b`" with the place first."""
    what, _, place = message.partition(" - at `$")
    where = place.rstrip("`").lstrip(".") or "top level"
    return f"{where}: {what[:1].lower()}{what[1:]}".replace("`", "'")
