"""The page of metrics says what the code says."""

from scripts.metrics_page import PAGE, page


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m scripts.metrics_page`"
