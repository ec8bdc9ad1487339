"""Sections as Markdown for the file, and as tables for the terminal."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from examples.demo.shapes import Grid, Section


def markdown(title: str, opening: Sequence[str], sections: Sequence[Section]) -> str:
    """A whole document: title, opening paragraphs, sections."""
    parts = [f"# {title}", *opening]
    for section in sections:
        parts += [f"## {section.title}", *_markdown_parts(section)]
    return "\n\n".join(parts) + "\n"


def _markdown_parts(section: Section) -> Iterator[str]:
    if section.text:
        yield section.text
    if section.grid is not None:
        yield _markdown_table(section.grid)
    if section.plot:
        yield "\n".join(["```text", *section.plot, "```"])
    if section.after:
        yield section.after


def _markdown_table(grid: Grid) -> str:
    rules = ["---:" if side == "r" else "---" for side in grid.align]
    rows = [grid.headings, rules, *grid.rows]
    return "\n".join(f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in rows)


def _escaped(cell: str) -> str:
    return " ".join(cell.replace("|", "\\|").split())


def show(console: Console, sections: Sequence[Section]) -> None:
    """The brief ones."""
    for section in sections:
        if not section.brief:
            continue
        console.print(Rule(section.title, align="left", style="dim"))
        if section.grid is not None:
            console.print(_table(section.grid))
        for line in section.plot:
            console.print(Text("  " + line, no_wrap=True, overflow="crop"))
        if section.after:
            console.print(Padding(Text(section.after, style="dim"), (0, 2)))


def _table(grid: Grid) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for heading, side in zip(grid.headings, grid.align, strict=True):
        last_text = side == "l" and heading == grid.headings[-1]
        table.add_column(heading, justify="right" if side == "r" else "left", overflow="fold", no_wrap=not last_text)
    for row in grid.rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
