"""A span as plain data, before any library sees it. Times are Unix microseconds."""

from collections.abc import Mapping
from enum import Enum

import msgspec

Value = str | int | float | bool


class Kind(Enum):
    """Who a span speaks for, by OpenTelemetry's names."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class Link(msgspec.Struct, frozen=True):
    """Another span that has to do with this one."""

    trace_id: str
    span_id: str
    attributes: Mapping[str, Value] = {}


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One span that is to be exported. `parent_id` is empty for the first of a trace; `error` says what went wrong.

    `is_parent_remote` tells that the span above it is another process's.
    """

    name: str
    trace_id: str
    span_id: str
    start_us: int
    end_us: int
    parent_id: str = ""
    is_parent_remote: bool = False
    kind: Kind = Kind.INTERNAL
    attributes: Mapping[str, Value] = {}
    links: tuple[Link, ...] = ()
    error: str = ""
