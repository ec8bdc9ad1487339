"""Where tables are printed: a terminal folds them at its edge, a pipe or a file has none and gets whole lines."""

from rich.console import Console

NO_EDGE = 1000
"""Columns; tables take only what they need."""


def table_console() -> Console:
    """Standard output; nothing is coloured but what asks for it."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = NO_EDGE
    return console
