"""Reads the YAML of a function. Every problem is told at once, each with its place and what was expected."""

import difflib
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from fastgshare.client.definition import FunctionDefinition, problems_in
from fastgshare.shared.errors import InvalidSpec


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
    raw = _parse_yaml(text)
    if not isinstance(raw, dict):
        raise InvalidSpec([f"expected keys such as name and model, found {_kind(raw)}"])
    if unknown := list(_unknown_keys(raw, FunctionDefinition, "")):
        raise InvalidSpec(unknown)
    try:
        definition = msgspec.convert(raw, FunctionDefinition)
    except msgspec.ValidationError as error:
        raise InvalidSpec([_placed(str(error))]) from error
    if problems := problems_in(definition):
        raise InvalidSpec(problems)
    return definition


def _parse_yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InvalidSpec([f"{place}not YAML: {error.problem}"]) from error
    except yaml.YAMLError as error:
        raise InvalidSpec([f"not YAML: {error}"]) from error


def _kind(raw: object) -> str:
    return "nothing" if raw is None else f"a {type(raw).__name__}"


def _unknown_keys(raw: Any, expected: Any, place: str) -> Iterator[str]:
    """Keys that no field bears, at any depth: a misspelt option must not be ignored."""
    if isinstance(raw, list | tuple):
        for index, item in enumerate(raw):
            yield from _unknown_keys(item, expected, f"{place}[{index}]")
        return
    kind = next((part for part in _parts(expected) if _is_struct(part)), None)
    if kind is None or not isinstance(raw, dict):
        return
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    prefix = f"{place}." if place else ""
    for key, value in raw.items():
        if key in fields:
            yield from _unknown_keys(value, fields[key], f"{prefix}{key}")
            continue
        near = difflib.get_close_matches(str(key), fields, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        yield f"{prefix}{key} is not known; {hint}known keys: {', '.join(fields)}"


def _parts(expected: Any) -> Iterator[Any]:
    """The types inside unions and tuples."""
    if isinstance(expected, types.UnionType) or typing.get_origin(expected) in (typing.Union, tuple):
        for part in typing.get_args(expected):
            yield from _parts(part)
    else:
        yield expected


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _placed(message: str) -> str:
    """msgspec's "Expected ..., got ... - at `$.a.b`" with the place first."""
    what, _, place = message.partition(" - at `$")
    where = place.rstrip("`").lstrip(".") or "top level"
    return f"{where}: {what[:1].lower()}{what[1:]}".replace("`", "'")
