"""A gateway's gRPC door on a free port before a fake inside, and Triton's clients to knock on it with."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import anyio.abc
import anyio.to_thread
import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio

from fastgshare.gateway.core.turned_away import TurnedAway
from fastgshare.gateway.grpc import GrpcSettings, Inside, serve_grpc
from fastgshare.gateway.http import BodyBudget
from fastgshare.gateway.ports import Doorkeeper, OpenDoor
from tests.gateway.http.serving import FakeFunctions, FakeInvoker

T = TypeVar("T")
ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)


@asynccontextmanager
async def serving(
    invoker: FakeInvoker,
    functions: FakeFunctions | None = None,
    settings: GrpcSettings | None = None,
    doorkeeper: Doorkeeper | None = None,
    budget: BodyBudget | None = None,
    turned_away: TurnedAway | None = None,
) -> AsyncIterator[str]:
    """The address of a server that stops at the end, without being told twice."""
    inside = Inside(
        invoker,
        functions or FakeFunctions(),
        doorkeeper or OpenDoor(),
        settings or GrpcSettings(),
        turned_away=turned_away or TurnedAway(),
        budget=budget or BodyBudget(),
    )
    stop = anyio.Event()
    async with anyio.create_task_group() as tasks:

        async def serve(*, task_status: anyio.abc.TaskStatus[int] = anyio.TASK_STATUS_IGNORED) -> None:
            await serve_grpc(inside, "127.0.0.1", 0, stop=stop, task_status=task_status)

        port: int = await tasks.start(serve)
        try:
            yield f"127.0.0.1:{port}"
        finally:
            stop.set()


@asynccontextmanager
async def client(address: str) -> AsyncIterator[Any]:
    """Triton's asynchronous client."""
    opened = triton_aio.InferenceServerClient(address)
    try:
        yield opened
    finally:
        await opened.close()


async def with_client(address: str, use: Callable[[Any], T]) -> T:
    """What `use` does with Triton's synchronous client, in a thread."""

    def run() -> T:
        opened = triton.InferenceServerClient(address)
        try:
            return use(opened)
        finally:
            opened.close()

    return await anyio.to_thread.run_sync(run)


def input_of(array: Any, name: str = "x", datatype: str = "FP32") -> Any:
    """An input with its bytes."""
    return triton.InferInput(name, list(array.shape), datatype).set_data_from_numpy(array)
