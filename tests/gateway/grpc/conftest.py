"""The gRPC door is tested on the event loop that it runs on, as every service does."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop and nothing else."""
    return {"uvloop": uvloop.new_event_loop}
