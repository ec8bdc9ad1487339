"""A drawing as SVG: shapes in user units, colours by role, so that one drawing has a light and a dark form. Pure."""

from typing import NamedTuple
from xml.sax.saxutils import escape

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"


class Palette(NamedTuple):
    """Colours by role. The four fills are told apart without colour vision too, and carry letters besides."""

    ink: str
    faint: str
    line: str
    panel: str
    first: str
    second: str
    third: str
    fourth: str
    accent: str
    on_fill: str


PALETTES = {
    "light": Palette(
        "#1d2730", "#5b6770", "#9aa5ad", "#f3f5f7", "#56b4e9", "#e69f00", "#3fb68b", "#cc79a7", "#c1440e", "#10161b"
    ),
    "dark": Palette(
        "#e6ebef", "#a9b4bd", "#66727c", "#262b36", "#56b4e9", "#e69f00", "#3fb68b", "#cc79a7", "#ff9d70", "#10161b"
    ),
}


class Canvas:
    """Collects shapes; `svg` gives the file. Colours are names of a palette's roles."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self._shapes: list[tuple[str, tuple[str, ...]]] = []

    def box(self, x: float, y: float, width: float, height: float, fill: str, *, round_by: float = 3) -> None:
        """A filled rectangle with a thin outline."""
        place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{round_by:g}"'
        self._shapes.append((f'<rect {place} fill="{{}}" stroke="{{}}" stroke-width="1"/>', (fill, "line")))

    def dashed(self, x: float, y: float, width: float, height: float) -> None:
        """A rectangle that is not there (yet)."""
        place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="3"'
        self._shapes.append((f'<rect {place} fill="none" stroke="{{}}" stroke-dasharray="4 3"/>', ("line",)))

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str = "faint", *, dashed: bool = False) -> None:
        """A straight line."""
        place = f'x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"'
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._shapes.append((f'<line {place} stroke="{{}}" stroke-width="1.4"{dash}/>', (colour,)))

    def arrow(self, x1: float, y1: float, x2: float, y2: float, colour: str = "faint") -> None:
        """A line with a head at its end."""
        place = f'x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"'
        self._shapes.append((f'<line {place} stroke="{{}}" stroke-width="1.4" marker-end="url(#head)"/>', (colour,)))

    def curve(self, points: list[tuple[float, float]], colour: str) -> None:
        """A line through points."""
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._shapes.append((f'<polyline points="{way}" fill="none" stroke="{{}}" stroke-width="2.4"/>', (colour,)))

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        colour: str = "ink",
        size: int = 13,
        at: str = "start",
        bold: bool = False,
    ) -> None:
        """Words whose baseline is at `y`; `at` is start, middle or end."""
        weight = ' font-weight="600"' if bold else ""
        place = f'x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{at}"{weight}'
        words = escape(words).replace("{", "{{").replace("}", "}}")
        self._shapes.append((f'<text {place} fill="{{}}">{words}</text>', (colour,)))

    def named(self, x: float, y: float, width: float, height: float, fill: str, *lines: str, size: int = 13) -> None:
        """A box with lines of words in its middle."""
        self.box(x, y, width, height, fill)
        colour = "ink" if fill == "panel" else "on_fill"
        first = y + height / 2 + size * 0.36 - (len(lines) - 1) * size * 0.62
        for index, words in enumerate(lines):
            self.text(
                x + width / 2,
                first + index * size * 1.24,
                words,
                colour=colour,
                size=size,
                at="middle",
                bold=index == 0,
            )

    def svg(self, palette: Palette) -> str:
        """The file in these colours."""
        colours = palette._asdict()
        body = "\n".join(shape.format(*(colours[role] for role in roles)) for shape, roles in self._shapes)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'font-family="{FONT}">\n<title>{escape(self.title)}</title>\n<defs><marker id="head" '
            f'viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse">'
            f'<path d="M0 0 8 4 0 8z" fill="{palette.faint}"/></marker></defs>\n{body}\n</svg>\n'
        )
