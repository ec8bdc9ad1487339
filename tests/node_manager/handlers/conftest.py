"""An author with an empty desk."""

from pathlib import Path

import pytest

from tests.node_manager.handlers.author import Author


@pytest.fixture
def author(tmp_path: Path) -> Author:
    return Author(tmp_path)
