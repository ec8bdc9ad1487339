"""MkDocs calls these: pages that stand elsewhere in the tree join the site, and links are made to hold there."""

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

TREE = Path(__file__).resolve().parents[2]
if str(TREE) not in sys.path:  # MkDocs runs this file by its path
    sys.path.insert(0, str(TREE))

from scripts.site.elsewhere import DOCS, PAGES  # noqa: E402  # found by the line above
from scripts.site.links import relinked  # noqa: E402
from scripts.site.menu import expanded  # noqa: E402

_SOURCES = {page: source for source, page in PAGES.items()}


def on_config(config: Any) -> Any:
    """Put every page into the menu."""
    documents = TREE / DOCS
    own = (path.relative_to(documents).as_posix() for path in documents.rglob("*.md"))
    config["nav"] = expanded(config["nav"], {*own, *PAGES.values()})
    return config


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages that stand elsewhere."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(TREE / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Make a page's links hold on the site."""
    place = page.file.src_uri
    source = _SOURCES.get(place, f"{DOCS}/{place}")
    return relinked(markdown, source, place, PAGES, DOCS, lambda path: (TREE / path).exists())
