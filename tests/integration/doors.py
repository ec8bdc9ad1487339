"""The ways in, as callers use them: the Python client, plain HTTP, Triton's client; and refusals as they see them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx
import numpy as np
import pytest
import tritonclient.http as triton

from fastgshare.client import Client, FunctionDefinition, RequestRefused, connect
from fastgshare.shared import subjects
from fastgshare.shared.arrays import Array
from fastgshare.shared.codec import decode
from fastgshare.shared.errors import ErrorBody
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import GatewayLoad, ReplicaStatus
from tests.integration.world import World

T = TypeVar("T")
PATIENCE_S = 40.0
POLL_S = 0.02
LOOKS = 2000


def rows(*values: float, width: int = 16) -> Array:
    """A batch of constant rows, FP32."""
    return np.repeat(np.array(values, np.float32)[:, np.newaxis], width, axis=1)


@asynccontextmanager
async def deployed(world: World, *definitions: FunctionDefinition) -> AsyncIterator[Client]:
    """A client of a platform on which these functions serve; afterwards they are gone again."""
    async with connect(world.nats_url) as client:
        try:
            for definition in definitions:
                await client.deploy(definition)
            yield client
        finally:
            standing = {spec.name for spec in await client.functions()}
            for definition in definitions:
                if definition.name in standing:
                    await client.delete(definition.name)


async def refusal(call: Awaitable[object]) -> ErrorBody:
    """How a call was refused."""
    with pytest.raises(RequestRefused) as caught:
        await call
    return caught.value.body


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Return once it holds. Looks are counted, not seconds, of which a machine may lose many at once."""
    for _ in range(LOOKS):
        if await condition():
            return
        await anyio.sleep(POLL_S)
    raise TimeoutError(condition)


async def waiting_at_a_gateway(client: Client, name: str, held: int) -> bool:
    """Whether a gateway says that so many requests wait there for a replica."""
    heard = await client.bus.connection.subscribe(subjects.LOAD_ALL)
    try:
        load = decode(GatewayLoad, (await heard.next_msg(PATIENCE_S)).data)
    finally:
        await heard.unsubscribe()
    function = load.functions.get(FunctionName(name))
    return function is not None and function.held == held


def json_body(inputs: Mapping[str, Array], timeout_ms: int = 0) -> dict[str, Any]:
    """An inference request in OIP JSON."""
    document: dict[str, Any] = {"inputs": [_json_tensor(name, array) for name, array in inputs.items()]}
    if timeout_ms:
        document["parameters"] = {"timeout": timeout_ms * 1000}
    return document


def door(url: str) -> httpx.AsyncClient:
    """An HTTP client; without a TLS context, which takes longer to make than a test has requests."""
    return httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, verify=False)


async def post(world: World, function: str, body: dict[str, Any], gateway: int = 0) -> httpx.Response:
    """One inference over HTTP."""
    async with door(world.http_urls[gateway]) as http:
        return await http.post(f"/v2/models/{function}/infer", json=body)


async def with_triton(world: World, use: Callable[[Any], T]) -> T:
    """What `use` does with Triton's client, in a thread: it is synchronous."""

    def run() -> T:
        client = triton.InferenceServerClient(urlsplit(world.http_url).netloc)
        try:
            return use(client)
        finally:
            client.close()

    return await anyio.to_thread.run_sync(run)


def triton_input(name: str, array: Array, datatype: str) -> Any:
    """A binary input."""
    return triton.InferInput(name, list(array.shape), datatype).set_data_from_numpy(array, binary_data=True)


def _json_tensor(name: str, array: Array) -> dict[str, Any]:
    is_text = array.dtype.kind in "OSU"
    datatype = "BYTES" if is_text else {"f": "FP32", "i": "INT64"}[array.dtype.kind]
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": array.reshape(-1).tolist()}


async def replicas_of(client: Client, name: str) -> list[ReplicaStatus]:
    """Those that serve: whatever is on loan to the profiler comes and goes."""
    return [status for status in await client.replicas() if status.function == name and not status.loan]


async def only_replica(client: Client, name: str) -> ReplicaStatus:
    """The one that serves."""
    (status,) = await replicas_of(client, name)
    return status
