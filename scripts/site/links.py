"""Relative links of a file in the tree, rewritten to where the site has their targets. Pure.

A target that the site does not have becomes its path in the tree, as code: a reader of the site may have the tree, and
a link that leads nowhere helps nobody.
"""

import posixpath
import re
from collections.abc import Callable, Mapping

_LINK = re.compile(r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^()\s]+)\)")
_FENCE = re.compile(r"^( *)(```+|~~~+)")


class LinkBroken(Exception):
    """A link to a file that the tree does not have: fields `source`, `target`."""

    def __init__(self, source: str, target: str) -> None:
        super().__init__(f"{source}: nothing at '{target}'")
        self.source, self.target = source, target


def relinked(
    text: str, source: str, page: str, pages: Mapping[str, str], docs: str, exists: Callable[[str], bool]
) -> str:
    """`text` of the file `source` as the page `page`, with links that hold on the site.

    `source` and the keys of `pages` are paths in the tree, `page` and the values paths on the site; what lies under the
    folder `docs` is on the site under its path there.
    Raises:
        LinkBroken: a link's target does not exist.
    """

    def moved(link: re.Match[str]) -> str:
        target, _, anchor = link["target"].partition("#")
        if not target or "://" in target or target.startswith(("/", "mailto:")):
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        place = _place(path, pages, docs)
        if place is None:
            if not exists(path):
                raise LinkBroken(source, link["target"])
            return f"{link['text']} (`{path}`)" if link["text"].strip("`") != path else f"`{path}`"
        way = posixpath.relpath(place, posixpath.dirname(page) or ".")
        return f"{link['image']}[{link['text']}]({way}{'#' + anchor if anchor else ''})"

    return "\n".join(_outside_fences(text, lambda line: _LINK.sub(moved, line)))


def _place(path: str, pages: Mapping[str, str], docs: str) -> str | None:
    for known in (path, posixpath.join(path, "README.md")):
        if known in pages:
            return pages[known]
    inside = posixpath.relpath(path, docs)
    return None if inside.startswith("..") else inside


def _outside_fences(text: str, change: Callable[[str], str]) -> list[str]:
    lines, fence = [], ""
    for line in text.split("\n"):
        if found := _FENCE.match(line):
            if not fence:
                fence = found[2]
            elif line.strip().startswith(fence):
                fence = ""
            lines.append(line)
        else:
            lines.append(line if fence else change(line))
    return lines
