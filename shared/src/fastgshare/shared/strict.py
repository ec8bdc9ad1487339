"""Documents that people write are read strictly: a key that no field bears is told with its place, never dropped.

Messages between services stay lenient, so that newer ones can speak to older ones.
"""

import difflib
import types
import typing
from collections.abc import Iterator
from typing import Any

import msgspec

from fastgshare.shared.typed import convert


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


def misfits(raw: Any, expected: Any, place: str = "") -> Iterator[str]:
    """A sentence for each value of `raw`, at any depth, that is missing or not of the type expected there.

    msgspec's own conversion stops at the first. Keys that are not known are another matter: `unknown_keys`.
    """
    try:
        convert(expected, raw)
    except msgspec.ValidationError as error:
        inner = list(_inner_misfits(raw, expected, place))
        what = str(error).partition(" - at `")[0].replace("`", "'")
        yield from inner or [f"{place or 'top level'}: {what[:1].lower()}{what[1:]}"]


def _inner_misfits(raw: Any, expected: Any, place: str) -> Iterator[str]:
    if isinstance(raw, list):
        if (element := _element(expected)) is not None:
            for index, item in enumerate(raw):
                yield from misfits(item, element, f"{place}[{index}]")
        return
    kind = next((part for part in _parts(expected) if _is_struct(part)), None)
    if kind is None or not isinstance(raw, dict):
        return
    prefix = f"{place}." if place else ""
    for field in msgspec.structs.fields(kind):
        if field.encode_name in raw:
            yield from misfits(raw[field.encode_name], field.type, f"{prefix}{field.encode_name}")
        elif field.required:
            yield f"{prefix}{field.encode_name} is missing"


def _element(expected: Any) -> Any:
    """The type of a homogeneous tuple's or list's elements, wherever in a union it stands; None without one."""
    for part in typing.get_args(expected) if _is_union(expected) else (expected,):
        arguments = typing.get_args(part)
        if typing.get_origin(part) is list or (typing.get_origin(part) is tuple and arguments[1:] == (...,)):
            return arguments[0]
    return None


def _is_union(expected: Any) -> bool:
    return isinstance(expected, types.UnionType) or typing.get_origin(expected) is typing.Union


def _parts(expected: Any) -> Iterator[Any]:
    """The types inside unions and tuples."""
    if _is_union(expected) or typing.get_origin(expected) is tuple:
        for part in typing.get_args(expected):
            yield from _parts(part)
    else:
        yield expected


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
