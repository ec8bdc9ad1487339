"""Whatever is sent, the answer is never a server error, and the server goes on answering."""

import asyncio
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.http.serving import INFER, ROW, Answer, FakeInvoker, knock, serving, strict

SETTINGS = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
INPUTS = st.fixed_dictionaries(
    {"name": st.sampled_from(["x", "y", ""])},
    optional={
        "datatype": st.sampled_from(["FP32", "INT8", "BYTES", "BF16", "?"]) | JSON_VALUES,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | JSON_VALUES,
        "data": st.lists(st.floats(width=32), max_size=5) | JSON_VALUES,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 20)}) | JSON_VALUES,
    },
)
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(INPUTS, max_size=2) | JSON_VALUES},
    optional={
        "id": st.text(max_size=5) | JSON_VALUES,
        "outputs": st.lists(st.fixed_dictionaries({"name": st.text(max_size=2)}), max_size=2) | JSON_VALUES,
        "parameters": st.dictionaries(st.text(max_size=3), JSON_VALUES, max_size=2) | JSON_VALUES,
    },
)
TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=20)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Inference_Header_Content_Length": st.integers(-1, 300).map(str) | TEXT,
        "Fast_Timeout_Ms": st.integers(-1, 10**20).map(str) | TEXT,
        "Content_Encoding": st.sampled_from(["gzip", "deflate", "identity", "br"]) | TEXT,
        "Accept_Encoding": st.sampled_from(["gzip", "deflate", "*"]) | TEXT,
        "Traceparent": TEXT,
    },
)


async def ask(method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
    """The answer to one request, from a server that then still answers another one."""
    invoker = FakeInvoker()
    invoker.behaviour = strict
    async with serving(invoker) as port, knock(port) as door:
        answer = await door.request(method, path, body, **headers)
        async with knock(port) as other:
            assert (await other.request("POST", INFER, ROW)).status == 200
    return answer


@SETTINGS
@given(st.binary(max_size=400), HEADERS)
def test_any_bytes_to_infer_are_no_server_error(body: bytes, headers: dict[str, str]) -> None:
    answer = asyncio.run(ask("POST", INFER, body, headers))
    assert 400 <= answer.status < 500
    assert answer.error


@SETTINGS
@given(REQUESTS, st.binary(max_size=20), HEADERS)
def test_any_json_to_infer_is_answered_or_refused(document: object, rest: bytes, headers: dict[str, str]) -> None:
    answer = asyncio.run(ask("POST", INFER, json.dumps(document).encode() + rest, headers))
    assert answer.status == 200 or 400 <= answer.status < 500


@SETTINGS
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
    st.sampled_from(["/v2", "/v2/models/echo", "/v2/repository/index", "/v1/functions", "/v1/models"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?#"), max_size=12),
    st.binary(max_size=60),
)
def test_any_path_is_answered_or_refused(method: str, path: str, more: str, body: bytes) -> None:
    answer = asyncio.run(ask(method, path + more, body, {"Content_Type": "application/json"}))
    assert answer.status < 500


@SETTINGS
@given(st.binary(min_size=1, max_size=400))
def test_any_bytes_on_the_wire_leave_the_server_serving(sent: bytes) -> None:
    async def check() -> None:
        async with serving(FakeInvoker()) as port:
            async with knock(port) as door:
                await door.send(sent)
            async with knock(port) as door:
                assert (await door.request("POST", INFER, ROW)).status == 200

    asyncio.run(check())
