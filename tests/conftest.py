"""What every test may ask for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.natsd import Natsd, run_natsd


@pytest.fixture
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Natsd]:
    """A real nats-server with JetStream and an empty store; `.url`, `.kill()`, `.restart()`."""
    directory: Path = tmp_path_factory.mktemp("nats")
    with run_natsd(directory) as server:
        yield server
