"""What `fastgshare.client` offers is there, though loaded only when used."""

import importlib

import pytest

import fastgshare.client


@pytest.mark.parametrize("name", fastgshare.client.__all__)
def test_every_offered_name_is_there(name: str) -> None:
    assert getattr(fastgshare.client, name).__name__ == name


def test_another_name_is_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Klient'"):
        getattr(importlib.import_module("fastgshare.client"), "Klient")  # noqa: B009  # mypy knows that it is not there
