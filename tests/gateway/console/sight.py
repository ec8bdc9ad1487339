"""What can be measured of a page: contrast of every text, names for everything, nothing wider than the window."""

from pathlib import Path

from tests.browser import Browser

LEAST_CONTRAST = 4.5  # WCAG 2.2, level AA
_SIGHT = Path(__file__).with_name("sight.js").read_text()


def faint(browser: Browser) -> list[str]:
    """Texts that differ too little from what is behind them."""
    return _found(browser, f"faint({LEAST_CONTRAST})")


def unspoken(browser: Browser) -> list[str]:
    """What a screen reader would have no name for, and what would confuse it."""
    return _found(browser, "unspoken()")


def too_wide(browser: Browser) -> list[str]:
    """What makes the page wider than its window."""
    return _found(browser, "tooWide()")


def _found(browser: Browser, look: str) -> list[str]:
    found: list[str] = browser.run(f"{_SIGHT}\nreturn {look};")
    return found
