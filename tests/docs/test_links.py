"""Links hold on the site wherever the page's file stands in the tree."""

import re
from pathlib import Path

import pytest
import yaml

from scripts.site.elsewhere import DOCS, PAGES
from scripts.site.links import LinkBroken, relinked
from scripts.site.menu import expanded, named

TREE = Path(__file__).resolve().parents[2]
KNOWN = {"services/gateway/README.md": "inside/gateway.md", "README.md": "start.md"}


def moved(text: str, source: str = "services/gateway/README.md", page: str = "inside/gateway.md") -> str:
    return relinked(text, source, page, KNOWN, "docs", lambda path: path != "gone.md")


def test_a_link_to_another_page_follows_it() -> None:
    assert moved("[start](../../README.md#use-it)") == "[start](../start.md#use-it)"


def test_a_link_to_a_folder_is_one_to_its_readme() -> None:
    assert moved("[it](../services/gateway)", "docs/a.md", "a.md") == "[it](inside/gateway.md)"


def test_a_link_into_the_documents_stays_inside() -> None:
    assert moved("[4](../../docs/decisions/0004.md)") == "[4](../decisions/0004.md)"


def test_a_link_out_of_the_site_becomes_a_path() -> None:
    assert moved("see [the code](core/tokens.py)") == "see the code (`services/gateway/core/tokens.py`)"


def test_addresses_and_anchors_are_left_alone() -> None:
    text = "[a](https://example.org/x) [b](#slices)"
    assert moved(text) == text


def test_code_is_left_alone() -> None:
    text = "```\n[a](core/tokens.py)\n```"
    assert moved(text) == text


def test_a_link_to_nothing_is_told() -> None:
    with pytest.raises(LinkBroken, match=r"gone\.md"):
        moved("[x](../../gone.md)")


def documents() -> list[tuple[str, str]]:
    own = {str(path.relative_to(TREE)): str(path.relative_to(TREE / DOCS)) for path in (TREE / DOCS).rglob("*.md")}
    return sorted({**own, **PAGES}.items())


@pytest.mark.parametrize(("source", "page"), documents())
def test_every_document_links_to_what_there_is(source: str, page: str) -> None:
    text = (TREE / source).read_text(encoding="utf-8")
    sites = {page for _, page in documents()}

    def stands(path: str) -> bool:
        return (TREE / path).exists()

    found = relinked(text, source, page, PAGES, DOCS, stands)
    for target in re.findall(r"\]\(([^()\s#]+\.(?:md|svg|png))[^()]*\)", _without_code(found)):
        if "://" in target:
            continue
        place = (Path("/") / page).parent.joinpath(target).resolve().relative_to("/")
        assert str(place) in sites or stands(f"{DOCS}/{place}"), f"{source} links to {target}"


def test_every_page_is_reached_from_the_menu() -> None:
    text = (TREE / "mkdocs.yml").read_text(encoding="utf-8")
    menu = yaml.safe_load(text.partition("\nnav:\n")[2])
    pages = {page for _, page in documents()}
    found = list(named(expanded(menu, pages)))
    assert sorted(found) == sorted(pages)


def _without_code(text: str) -> str:
    return re.sub(r"^( *)```.*?^\1```", "", text, flags=re.DOTALL | re.MULTILINE)
