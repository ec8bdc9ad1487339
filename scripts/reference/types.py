"""Types and defaults of struct fields, in a person's words."""

import types
import typing
from typing import Annotated, Any, get_args, get_origin

import msgspec

NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false"}


def kind_of(annotation: Any) -> str:
    """`annotation` as a person would say it."""
    annotation = _bare(annotation)
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(kind_of(part) for part in inner if part is not type(None))
    if origin in (tuple, list):
        return f"list of {kind_of(inner[0])}"
    if origin is dict:
        return f"map of {kind_of(inner[0])} to {kind_of(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return "a map"
    return NAMES.get(annotation, getattr(annotation, "__name__", str(annotation)))


def structs_in(annotation: Any) -> list[type[msgspec.Struct]]:
    """The structs that a value of this type may hold directly."""
    annotation = _bare(annotation)
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return [annotation]
    return [found for part in get_args(annotation) for found in structs_in(part)]


def default_of(field: msgspec.structs.FieldInfo) -> str:
    """The default as code; empty for none and for nothing."""
    if field.required:
        return "required"
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if default is None or default == "" or default in ((), {}) or isinstance(default, msgspec.Struct):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`"


def _bare(annotation: Any) -> Any:
    """Without annotations; a new type of text or number as what it is made of."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        else:
            return annotation
