"""What every test may ask for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.natsd import Natsd, run_natsd

settings.register_profile("crowded", deadline=None)  # how long an example takes is the machine's luck
settings.load_profile("crowded")


@pytest.fixture
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Natsd]:
    """A real nats-server with JetStream and an empty store; `.url`, `.kill()`, `.restart()`."""
    directory: Path = tmp_path_factory.mktemp("nats")
    with run_natsd(directory) as server:
        yield server
