"""One platform for all tests that do not hurt it; those that do start their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.world import World, running


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Shared: a test leaves it as it found it."""
    with running(tmp_path_factory.mktemp("platform")) as world:
        yield world


@pytest.fixture
def name(tmp_path: Path) -> str:
    """A function's name that no other test uses: what another left behind cannot answer in its place."""
    return tmp_path.name.lower()
