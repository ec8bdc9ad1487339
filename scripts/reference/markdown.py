"""Markdown as the pages need it: tables whose cells cannot break them, and docstrings as prose."""

import inspect
import re
from collections.abc import Iterable, Sequence

_SECTION = re.compile(r"^\n?Raises:\n(?P<body>(?:    .*\n?)+)", re.MULTILINE)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells may hold anything but lines of their own."""
    lines = [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]
    return "\n".join(lines) + "\n"


def code(text: str) -> str:
    """`text` as inline code; nothing for nothing."""
    return f"`{text}`" if text else ""


def prose(thing: object) -> str:
    """What the docstring of `thing` says, in paragraphs."""
    text = inspect.getdoc(thing) or ""
    return _SECTION.sub(_raises, text).strip()


def flat(text: str) -> str:
    """`text` in one line."""
    return " ".join(text.split())


def _raises(section: re.Match[str]) -> str:
    lines = [line.strip() for line in section["body"].splitlines()]
    items: list[str] = []
    for line in lines:
        if re.match(r"[A-Z]\w*(, [A-Z]\w*)*[:.,]", line) or not items:
            items.append(line)
        else:
            items[-1] += f" {line}"
    return "\nRaises:\n\n" + "\n".join(f"- {item}" for item in items)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(flat(cell).replace("|", "\\|") for cell in cells) + " |"
