"""What every test may ask for."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.natsd import Natsd, run_natsd

LEAN = Path(__file__).with_name("lean")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(LEAN), os.environ.get("PYTHONPATH", "")]))

# How fast a machine is makes no property true or false, and what passed once passes again.
# `pytest --hypothesis-profile=explore` looks at other examples each time.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("steady", settings.get_profile("explore"), derandomize=True)
settings.load_profile("steady")


@pytest.fixture
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Natsd]:
    """A real nats-server with JetStream and an empty store; `.url`, `.kill()`, `.restart()`."""
    directory: Path = tmp_path_factory.mktemp("nats")
    with run_natsd(directory) as server:
        yield server
