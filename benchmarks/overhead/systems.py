"""One request through each way there is: what to send, and how to tell that the answer is right."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec
import numpy as np
import numpy.typing as npt
from nats.aio.client import Client as Nats

from benchmarks.overhead.http_client import Connection, connect, post
from benchmarks.overhead.identity import INPUT
from benchmarks.overhead.load import Call
from benchmarks.overhead.partners import SUBJECT
from fastgshare.cli.up.ports import HOST
from fastgshare.client import Client
from fastgshare.shared.arrays import to_tensor
from fastgshare.shared.codec import encode
from fastgshare.shared.errors import FastGShareError
from fastgshare.shared.messages import INFER_VERSION, InferRequest
from fastgshare.shared.typed import json_decoder

TIMEOUT_S = 10.0

# Brings up a number of clients for one run.
Clients = Callable[[int], AbstractAsyncContextManager[list[Call]]]

Row = npt.NDArray[np.float32]


def raw_call(connection: Nats, row: Row) -> Call:
    """The bare bus carrying the very bytes that the platform's request has."""
    payload = encode(InferRequest(INFER_VERSION, (to_tensor(INPUT, row),)))

    async def call() -> str | None:
        answer = await connection.request(SUBJECT, payload, timeout=TIMEOUT_S)
        return None if answer.data == payload else "raw: other bytes came back"

    return call


def platform_call(client: Client, function: str, row: Row) -> Call:
    """The platform by NATS: tensors out and back as they travel, as the bare bus is given bytes as they travel."""
    request = InferRequest(INFER_VERSION, (to_tensor(INPUT, row),))
    expected = row.tobytes()

    async def call() -> str | None:
        try:
            reply = await client.invoke_tensors(function, request, timeout_s=TIMEOUT_S)
        except FastGShareError as error:
            return f"{function}: {error}"
        return None if bytes(reply.outputs[0].data) == expected else f"{function}: a wrong answer"

    return call


class _Tensor(msgspec.Struct):
    data: list[float]


class _Answer(msgspec.Struct):
    outputs: list[_Tensor]


def all_share(call: Call) -> Clients:
    """Clients that are tasks on one connection."""

    @asynccontextmanager
    async def clients(count: int) -> AsyncIterator[list[Call]]:
        yield [call] * count

    return clients


def over_http(port: int, function: str, row: Row) -> Clients:
    """Clients with a keep-alive connection each, opened anew for each run: servers hang up on idle ones."""

    @asynccontextmanager
    async def clients(count: int) -> AsyncIterator[list[Call]]:
        connections = [await connect(HOST, port) for _ in range(count)]
        try:
            yield [http_call(connection, function, row) for connection in connections]
        finally:
            for connection in connections:
                connection.close()

    return clients


def http_call(connection: Connection, function: str, row: Row) -> Call:
    """Either HTTP server: Open Inference Protocol v2, JSON."""
    values = row.reshape(-1).tolist()
    tensor = {"name": INPUT, "datatype": "FP32", "shape": list(row.shape), "data": values}
    request = post(f"/v2/models/{function}/infer", msgspec.json.encode({"inputs": [tensor]}), HOST)
    decoder = json_decoder(_Answer)

    async def call() -> str | None:
        async with asyncio.timeout(TIMEOUT_S):
            status, body = await connection.send(request)
        if status != 200:
            return f"{function}: HTTP {status}: {body[:200]!r}"
        return None if decoder.decode(body).outputs[0].data == values else f"{function}: a wrong answer"

    return call
