"""The one place where msgspec learns types: what it decodes or converts into is made known here, one type at a time.

Two threads that teach it one type at once end the process (docs/decisions/0013). Once a type is known, no lock is
taken for it.
"""

import threading
from functools import cache
from typing import Any, TypeVar, overload

import msgspec

T = TypeVar("T")

_learning = threading.RLock()  # what an annotation names may make a decoder of its own


@cache
def msgpack_decoder(kind: Any) -> "msgspec.msgpack.Decoder[Any]":
    """The decoder of `kind`, any type that msgspec knows, from msgpack; the same one each time."""
    with _learning:
        return msgspec.msgpack.Decoder(kind)


@cache
def json_decoder(kind: Any) -> "msgspec.json.Decoder[Any]":
    """The decoder of `kind` from JSON; the same one each time."""
    with _learning:
        return msgspec.json.Decoder(kind)


@overload
def decode_json(kind: type[T], payload: Any) -> T: ...
@overload
def decode_json(kind: Any, payload: Any) -> Any: ...
def decode_json(kind: Any, payload: Any) -> Any:
    """A bytes-like `payload`, or a str, as a `kind`. Raises msgspec's errors."""
    return json_decoder(kind).decode(payload)


@overload
def convert(kind: type[T], raw: Any, *, strict: bool = True) -> T: ...
@overload
def convert(kind: Any, raw: Any, *, strict: bool = True) -> Any: ...
def convert(kind: Any, raw: Any, *, strict: bool = True) -> Any:
    """`raw`, what a parser gave, as a `kind`; not `strict`: from strings also. Raises msgspec's ValidationError."""
    msgpack_decoder(kind)
    return msgspec.convert(raw, kind, strict=strict)
