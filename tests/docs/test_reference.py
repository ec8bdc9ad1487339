"""The generated pages and pictures say what the code says, and nothing in it goes without a word."""

from fastgshare.shared import storage
from fastgshare.shared.errors import ErrorCode
from scripts.pictures.__main__ import stale as stale_pictures
from scripts.reference import bus, errors, settings
from scripts.reference.__main__ import stale


def test_pages_are_what_the_code_gives() -> None:
    assert stale() == [], "out of date: run `make reference`"


def test_pictures_are_what_the_drawings_give() -> None:
    assert stale_pictures() == [], "out of date: run `make reference`"


def test_every_setting_has_a_meaning() -> None:
    assert settings.without_meaning() == []


def test_every_code_has_a_meaning() -> None:
    assert set(errors.MEANINGS) == set(ErrorCode)


def test_everything_that_is_kept_has_a_meaning() -> None:
    assert set(bus.BUCKETS) == set(storage.BUCKETS)
    assert set(bus.STREAMS) == set(storage.STREAMS)
    assert set(bus.OBJECTS) == set(storage.OBJECTS)


def test_nothing_of_this_machine_gets_into_a_page() -> None:
    from scripts.reference.pages import PAGES, render

    for name in PAGES:
        assert "environ({" not in render(name)
