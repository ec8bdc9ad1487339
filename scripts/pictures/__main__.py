"""Writes the drawings of docs/images; with `--check` it writes nothing and tells which are out of date."""

import sys
from pathlib import Path

from scripts.pictures.canvas import PALETTES
from scripts.pictures.drawings import DRAWINGS

DIRECTORY = Path(__file__).resolve().parents[2] / "docs" / "images"


def files() -> dict[str, str]:
    """Every file by its name."""
    drawn = {name: draw() for name, draw in DRAWINGS.items()}
    return {f"{name}-{form}.svg": drawn[name].svg(colours) for name in drawn for form, colours in PALETTES.items()}


def stale(directory: Path = DIRECTORY) -> list[str]:
    """The drawings whose file is missing or shows something else."""
    wanted = files()
    return [
        name
        for name, text in wanted.items()
        if not (directory / name).exists() or (directory / name).read_text(encoding="utf-8") != text
    ]


def main() -> int:
    """The exit status: 1 where `--check` found a drawing out of date."""
    found = stale()
    if "--check" in sys.argv[1:]:
        for name in found:
            print(f"docs/images/{name} is out of date: make reference", file=sys.stderr)
        return 1 if found else 0
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    wanted = files()
    for name in found:
        (DIRECTORY / name).write_text(wanted[name], encoding="utf-8")
        print(f"wrote docs/images/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
