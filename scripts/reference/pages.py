"""Which pages of docs/ are made from the code, and what makes each."""

from collections.abc import Callable

from scripts.reference import bus, client, commands, decisions, errors, function_keys, metrics, openapi, settings

PAGES: dict[str, Callable[[], str]] = {
    "reference/cli.md": commands.page,
    "reference/function.md": function_keys.page,
    "reference/settings.md": settings.page,
    "reference/errors.md": errors.page,
    "reference/bus.md": bus.page,
    "reference/client.md": client.page,
    "reference/metrics.md": metrics.page,
    "reference/openapi.json": openapi.page,
    "decisions/index.md": decisions.page,
}
# At the end: a page's title is only found where it stands first.
_NOTE = "\n<!-- Made by `make reference`: change it there. -->\n"


def render(name: str) -> str:
    """The whole text of a page."""
    text = PAGES[name]().rstrip() + "\n"
    return text + _NOTE if name.endswith(".md") else text  # JSON has no place for a note
