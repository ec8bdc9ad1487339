"""Writes the generated pages of docs/; with `--check` it writes nothing and tells which are out of date."""

import sys
from pathlib import Path

from scripts.reference.pages import PAGES, render

DIRECTORY = Path(__file__).resolve().parents[2] / "docs"


def stale(directory: Path = DIRECTORY) -> list[str]:
    """The pages whose file is missing or says something else than the code."""
    return [name for name in PAGES if _text_in(directory / name) != render(name)]


def _text_in(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def main() -> int:
    """The exit status: 1 where `--check` found a page out of date."""
    found = stale()
    if "--check" in sys.argv[1:]:
        for name in found:
            print(f"docs/{name} is out of date: make reference", file=sys.stderr)
        return 1 if found else 0
    for name in found:
        (DIRECTORY / name).write_text(render(name), encoding="utf-8")
        print(f"wrote docs/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
