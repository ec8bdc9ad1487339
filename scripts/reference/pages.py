"""Which reference pages there are, and what makes each."""

from collections.abc import Callable

from scripts.reference import bus, client, commands, errors, function_keys, settings

PAGES: dict[str, Callable[[], str]] = {
    "cli.md": commands.page,
    "function.md": function_keys.page,
    "settings.md": settings.page,
    "errors.md": errors.page,
    "bus.md": bus.page,
    "client.md": client.page,
}
# At the end: a page's title is only found where it stands first.
_NOTE = "\n<!-- Made from the code by `make reference`: change it there. -->\n"


def render(name: str) -> str:
    """The whole text of a page."""
    return PAGES[name]().rstrip() + "\n" + _NOTE
