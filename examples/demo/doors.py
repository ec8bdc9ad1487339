"""The two doors of the platform behind one method: the bus through the Python client, HTTP as the open protocol has it.

Both give an answer or raise; what the platform refuses arrives as `RequestRefused` from either.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import httpx
import msgspec
import numpy as np

from examples.demo.inputs import Example
from fastgshare.client import Client, Result
from fastgshare.shared.arrays import DTYPES, Array, array_bytes, datatype_of
from fastgshare.shared.errors import HTTP_STATUS, ErrorBody, ErrorCode, FastGShareError, RequestRefused
from fastgshare.shared.tensors import BYTES
from fastgshare.shared.typed import decode_json

JSON_BYTES = "Inference-Header-Content-Length"
TIMEOUT_MS = "Fast-Timeout-Ms"
# Beyond a request's deadline the gateway has said its word. Long, so that a machine that stood still for a while does
# not make its answers look lost.
HTTP_PATIENCE_S = 30.0
# The server hangs up on idle connections after five seconds: let them go before.
IDLE_CONNECTION_S = 2.0

_CODE_OF_STATUS = {
    400: ErrorCode.INVALID,
    404: ErrorCode.NOT_FOUND,
    413: ErrorCode.TOO_LARGE,
    429: ErrorCode.OVERLOADED,
    503: ErrorCode.UNAVAILABLE,
    504: ErrorCode.DEADLINE_EXCEEDED,
}
assert all(HTTP_STATUS[code] == status for status, code in _CODE_OF_STATUS.items())


class NoWord(FastGShareError):
    """Neither an answer nor a refusal came: field `reason`."""


class Door(Protocol):
    """A way into the platform."""

    name: str

    async def send(self, example: Example, timeout_s: float) -> Result:
        """The answer. Raises RequestRefused, or NoWord."""
        ...


class NatsDoor:
    """Through the Python client: large tensors go by shared memory, and answers tell who gave them."""

    name = "nats"

    def __init__(self, client: Client) -> None:
        self._client = client

    async def send(self, example: Example, timeout_s: float) -> Result:
        """The answer. Raises RequestRefused; a caller that waited in vain is refused by its own side."""
        return await self._client.invoke(example.function, example.inputs, timeout_s=timeout_s)


class HttpDoor:
    """Through the gateway's HTTP port: text as JSON, everything else as binary tensors behind the JSON."""

    name = "http"

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def send(self, example: Example, timeout_s: float) -> Result:
        """The answer. Raises RequestRefused, or NoWord."""
        body, headers = encode(example.inputs)
        headers[TIMEOUT_MS] = str(max(1, round(timeout_s * 1000)))
        try:
            response = await self._http.post(
                f"/v2/models/{example.function}/infer",
                content=body,
                headers=headers,
                timeout=timeout_s + HTTP_PATIENCE_S,
            )
        except httpx.HTTPError as error:
            raise NoWord(reason=str(error) or type(error).__name__) from error
        return decode(response.status_code, response.content)


@asynccontextmanager
async def open_http(url: str) -> AsyncIterator[HttpDoor]:
    """A door at the gateway that listens at `url`."""
    limits = httpx.Limits(keepalive_expiry=IDLE_CONNECTION_S)
    async with httpx.AsyncClient(base_url=url, limits=limits, trust_env=False) as http:
        yield HttpDoor(http)


def encode(inputs: Mapping[str, Array]) -> tuple[bytes, dict[str, str]]:
    """The body of an inference request, and the headers that go with it."""
    documents: list[dict[str, object]] = []
    behind: list[bytes | memoryview] = []
    for name, array in inputs.items():
        document: dict[str, object] = {"name": name, "datatype": datatype_of(array), "shape": list(array.shape)}
        texts = _texts(array)
        if texts is not None:
            document["data"] = texts
        else:
            data = array_bytes(array)
            document["parameters"] = {"binary_data_size": data.nbytes}
            behind.append(data)
        documents.append(document)
    head = msgspec.json.encode({"inputs": documents})
    if not behind:
        return head, {"Content-Type": "application/json"}
    return b"".join([head, *behind]), {"Content-Type": "application/octet-stream", JSON_BYTES: str(len(head))}


def decode(status: int, body: bytes) -> Result:
    """A response's outputs. Raises RequestRefused, or NoWord where the response makes no sense."""
    try:
        if status == httpx.codes.OK:
            outputs = decode_json(_Answer, body).outputs
            return Result({output.name: _array(output) for output in outputs}, None, None, None)
        message = decode_json(_Refusal, body).error
    except (msgspec.MsgspecError, KeyError, ValueError) as error:
        raise NoWord(reason=f"HTTP {status} with a body that cannot be read: {error}") from error
    raise RequestRefused(ErrorBody(_CODE_OF_STATUS.get(status, ErrorCode.INTERNAL), message))


class _Output(msgspec.Struct):
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[object]


class _Answer(msgspec.Struct):
    outputs: list[_Output]


class _Refusal(msgspec.Struct):
    error: str


def _texts(array: Array) -> list[str] | None:
    """The elements of a BYTES tensor that JSON can carry; None for any other tensor."""
    if datatype_of(array) != BYTES:
        return None
    try:
        return [element.decode() for element in array.reshape(-1).tolist()]
    except UnicodeDecodeError:
        return None


def _array(output: _Output) -> Array:
    if output.datatype == BYTES:
        texts = np.empty(len(output.data), dtype=object)
        texts[:] = [str(text).encode() for text in output.data]
        return texts.reshape(output.shape)
    return np.array(output.data, DTYPES[output.datatype]).reshape(output.shape)
