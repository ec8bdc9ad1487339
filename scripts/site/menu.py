"""The site's menu: `folder/*` stands for the pages of a folder that it does not name, in their names' order. Pure."""

import fnmatch
from collections.abc import Iterable, Iterator
from typing import Any

ALL = "/*"


def expanded(menu: list[Any], pages: Iterable[str]) -> list[Any]:
    """The menu with every `folder/*` replaced by pages; nothing else is touched."""
    left = sorted(set(pages) - set(named(menu)))
    return list(_entries(menu, left))


def named(menu: Any) -> Iterator[str]:
    """Every page that the menu names."""
    if isinstance(menu, str):
        yield menu
    elif menu:
        for entry in menu.values() if isinstance(menu, dict) else menu:
            yield from named(entry)


def _entries(menu: list[Any], left: list[str]) -> Iterator[Any]:
    for entry in menu:
        if isinstance(entry, str) and entry.endswith(ALL):
            yield from fnmatch.filter(left, entry)
        elif isinstance(entry, dict):
            yield {
                title: list(_entries(part, left)) if isinstance(part, list) else part for title, part in entry.items()
            }
        else:
            yield entry
