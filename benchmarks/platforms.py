"""A platform of a benchmark's own: started in a folder that goes away, on ports nobody else has, stopped at the end."""

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from fastgshare.cli.up.config import UpConfig
from fastgshare.cli.up.platform import Platform, open_platform
from fastgshare.client.location import DATA_DIR_VARIABLE
from fastgshare.client.wheels import CACHE_VARIABLE

ROOT = Path(__file__).resolve().parents[1]


@asynccontextmanager
async def open_own_platform(config: UpConfig, settings: Mapping[str, str]) -> AsyncIterator[Platform]:
    """The platform of `config`, its services under these environment variables; within, this process has them too."""
    with _environment(settings):
        async with open_platform(config) as platform:
            yield platform


def client_environment(home: Path) -> dict[str, str]:
    """What a client of the platform in `home` should see: its folder, and the wheels that this tree has fetched."""
    cache = os.environ.get(CACHE_VARIABLE) or str(ROOT / ".cache" / "wheels")
    return {**os.environ, DATA_DIR_VARIABLE: str(home), CACHE_VARIABLE: cache}


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Children inherit it, and restarted ones again."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
