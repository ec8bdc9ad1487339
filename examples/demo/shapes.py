"""What a report is made of: sections, and tables in them. Pure."""

from collections.abc import Sequence

import msgspec


class Grid(msgspec.Struct, frozen=True):
    """A table: a heading and an alignment (`l` or `r`) for each column, and rows of text."""

    headings: tuple[str, ...]
    align: str
    rows: Sequence[tuple[str, ...]]


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the report: text, then a table, then lines whose characters stand below each other."""

    title: str
    text: str = ""
    grid: Grid | None = None
    plot: tuple[str, ...] = ()
    after: str = ""
    brief: bool = False
