"""Requests one after another, several at a time, while a test does something to the platform; each is answered."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from examples.demo.inputs import Example
from fastgshare.client import Client, connect
from tests.compose.engine import Composed

CALLERS = 4
ANSWER_S = 120.0
MORE = 20


class Load:
    """What became of requests so far. Made by `under_load`."""

    def __init__(self) -> None:
        self.right = 0
        self.wrong: list[str] = []

    async def more(self, count: int = MORE) -> None:
        """Wait for so many more answers."""
        wanted = self.right + len(self.wrong) + count
        with anyio.fail_after(ANSWER_S):
            while self.right + len(self.wrong) < wanted:
                await anyio.sleep(0.05)


@asynccontextmanager
async def under_load(client: Client, examples: list[Example]) -> AsyncIterator[Load]:
    """`CALLERS` callers ask until the end of the block, and every one of them gets its right answer.

    They ask about Python's files alone: of those the model is sure.
    """
    load = Load()
    examples = [example for example in examples if example.expected == "python"]
    stopped = anyio.Event()

    async def call(first: int) -> None:
        for turn in range(first, 1 << 30, CALLERS):
            if stopped.is_set():
                return
            example = examples[turn % len(examples)]
            try:
                result = await client.invoke(example.function, example.inputs, timeout_s=ANSWER_S)
            except Exception as error:
                load.wrong.append(repr(error))
            else:
                load.right += 1
                if not example.is_right(result.outputs):
                    load.wrong.append(f"{example.name}: {result.outputs}")
            await anyio.sleep(0.02)

    async with anyio.create_task_group() as callers:
        for first in range(CALLERS):
            callers.start_soon(call, first)
        await load.more(CALLERS)
        yield load
        await load.more()
        stopped.set()
    assert not load.wrong, load.wrong


@asynccontextmanager
async def client_of(composed: Composed, tmp_path: Path, *servers: str) -> AsyncIterator[Client]:
    """The command's user, over the published ports of these servers of the bus."""
    file = tmp_path / "password"
    file.write_text(composed.password("admin"))
    url = ",".join(f"nats://admin@{composed.address(server, 4222)}" for server in servers or ("nats",))
    async with connect(url, env={"FASTGSHARE_NATS_PASSWORD_FILE": str(file), **WHEELS}) as client:
        yield client


WHEELS = {"FASTGSHARE_WHEEL_CACHE": str(Path(__file__).parents[2] / ".cache" / "wheels")}
