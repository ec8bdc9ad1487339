"""Documents that people write are read strictly: a key that no field bears is told with its place, never dropped.

Messages between services stay lenient, so that newer ones can speak to older ones.
"""

import difflib
import types
import typing
from collections.abc import Iterator
from typing import Any

import msgspec


def unknown_keys(raw: Any, expected: Any, place: str = "") -> Iterator[str]:
    """A sentence for each key of `raw`, at any depth, that the struct type expected there does not have.

    `raw` is what a JSON or YAML parser gave; `expected` a struct type, or a union or tuple with one in it.
    """
    if isinstance(raw, list | tuple):
        for index, item in enumerate(raw):
            yield from unknown_keys(item, expected, f"{place}[{index}]")
        return
    kind = next((part for part in _parts(expected) if _is_struct(part)), None)
    if kind is None or not isinstance(raw, dict):
        return
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    prefix = f"{place}." if place else ""
    for key, value in raw.items():
        if key in fields:
            yield from unknown_keys(value, fields[key], f"{prefix}{key}")
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
