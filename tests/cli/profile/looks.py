"""What a console shows, as plain lines."""

import io
from collections.abc import Callable
from typing import TextIO

from rich.console import Console


def printed(show: Callable[[Console], None], width: int = 80, *, is_ascii: bool = False) -> list[str]:
    console = Console(
        width=width, force_terminal=True, no_color=True, record=True, file=nowhere("ascii" if is_ascii else "utf-8")
    )
    show(console)
    return [line.rstrip() for line in console.export_text().splitlines()]


def nowhere(encoding: str) -> TextIO:
    """A file of that encoding that nobody reads."""
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)
