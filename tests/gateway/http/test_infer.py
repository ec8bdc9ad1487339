"""The infer route byte by byte: what it takes, what it answers, and with which status it refuses."""

import gzip
import json
import struct
import zlib

import pytest

from fastgshare.gateway.http import HttpSettings
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.messages import INFER_VERSION, InferReply, InferRequest
from fastgshare.shared.tracing import new_trace
from tests.gateway.http.serving import INFER, ROW, FakeInvoker, body_of, knock, serving, strict

BINARY_ROW = struct.pack("<4f", 1, 2.5, 3, 4)


def binary_request() -> tuple[bytes, int]:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return head + BINARY_ROW, len(head)


async def test_json_is_answered_in_json() -> None:
    async with serving(FakeInvoker()) as port, knock(port) as door:
        answer = await door.request("POST", INFER, body_of(1, 2.5, 3, 4, id="seven"))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert "inference-header-content-length" not in answer.headers
    assert answer.document == {
        "model_name": "echo",
        "model_version": "3",
        "id": "seven",
        "outputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1.0, 2.5, 3.0, 4.0]}],
    }


async def test_binary_is_answered_in_binary() -> None:
    body, json_bytes = binary_request()
    async with serving(FakeInvoker()) as port, knock(port) as door:
        answer = await door.request("POST", INFER, body, Inference_Header_Content_Length=str(json_bytes))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers["inference-header-content-length"])
    assert json.loads(answer.body[:length])["outputs"][0]["parameters"] == {"binary_data_size": 16}
    assert answer.body[length:] == BINARY_ROW


async def test_binary_inputs_reach_the_invoker_as_views_of_the_body() -> None:
    invoker = FakeInvoker()
    body, json_bytes = binary_request()
    async with serving(invoker) as port, knock(port) as door:
        await door.request("POST", INFER, body, Inference_Header_Content_Length=str(json_bytes))
    (tensor,) = invoker.asked[0].request.inputs
    assert tensor.data == BINARY_ROW
    assert tensor.data.obj == body


@pytest.mark.parametrize("path", ["/v2/models/echo/infer", "/v2/models/echo/versions/3/infer"])
async def test_a_version_may_be_named(path: str) -> None:
    async with serving(FakeInvoker()) as port, knock(port) as door:
        assert (await door.request("POST", path, ROW)).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("POST", "/v2/models/nobody/infer", 404, "no function is called 'nobody'"),
        ("POST", "/v2/models/echo/versions/9/infer", 404, "has version '3', not '9'"),
        ("POST", "/v2/models/echo/versions/infer", 405, "only GET, HEAD"),
        ("POST", "/v2/models/a%2Fb/infer", 404, "no such path"),
        ("POST", "/v2/models//infer", 404, "no function is called ''"),
        ("GET", "/v2/models/echo/infer", 405, "only POST"),
        ("PUT", "/v2/models/echo/versions/3/infer", 405, "only POST"),
        ("POST", "/v2/models/echo", 405, "only GET, HEAD"),
        ("GET", "/", 404, "no such path: /"),
    ],
)
async def test_wrong_paths_and_methods_are_told(method: str, path: str, status: int, said: str) -> None:
    async with serving(FakeInvoker()) as port, knock(port) as door:
        answer = await door.request(method, path, ROW)
    assert answer.status == status
    assert said in answer.error


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (b"", {}, 400, "not an inference request"),
        (b"{", {}, 400, "not an inference request"),
        (b'{"inputs": 5}', {}, 400, "Expected `array`, got `int` - at `$.inputs`"),
        (body_of(1, 2, 3), {}, 400, "has shape [1, 3], expected [-1, 4]"),
        (ROW.replace(b"FP32", b"INT32"), {}, 400, "input 'x': data: Expected `int`, got `float`"),
        (ROW.replace(b'"x"', b'"y"'), {}, 400, "expected inputs ['x'], missing ['x'], unknown ['y']"),
        (ROW, {"Inference_Header_Content_Length": "many"}, 400, "expected a number"),
        (ROW, {"Inference_Header_Content_Length": "9999"}, 400, "the JSON should take 9999 bytes"),
        (ROW, {"Inference_Header_Content_Length": "-1"}, 400, "expected a number"),
        (ROW, {"Fast_Timeout_Ms": "soon"}, 400, "fast-timeout-ms is 'soon', expected a number"),
        (ROW, {"Fast_Timeout_Ms": "0"}, 400, "expected at least 1"),
        (ROW, {"Content_Encoding": "br"}, 415, "expected gzip, deflate or identity"),
        (ROW, {"Content_Encoding": "gzip"}, 400, "the body is not gzip"),
        (gzip.compress(ROW)[:-9], {"Content_Encoding": "gzip"}, 400, "the gzip body is cut off"),
        (zlib.compress(ROW) + b"x", {"Content_Encoding": "deflate"}, 400, "has more behind it"),
    ],
)
async def test_malformed_requests_are_told_what_was_expected(
    body: bytes, headers: dict[str, str], status: int, said: str
) -> None:
    invoker = FakeInvoker()
    invoker.behaviour = strict
    async with serving(invoker) as port, knock(port) as door:
        answer = await door.request("POST", INFER, body, **headers)
        assert answer.status == status
        assert said in answer.error
        assert (await door.request("POST", INFER, ROW)).status == 200  # on the same connection


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (ErrorBody(ErrorCode.INVALID, "why"), 400, None),
        (ErrorBody(ErrorCode.NOT_FOUND, "why"), 404, None),
        (ErrorBody(ErrorCode.TOO_LARGE, "why"), 413, None),
        (ErrorBody(ErrorCode.OVERLOADED, "why"), 429, "1"),
        (ErrorBody(ErrorCode.OVERLOADED, "why", 1), 429, "1"),
        (ErrorBody(ErrorCode.OVERLOADED, "why", 2001), 429, "3"),
        (ErrorBody(ErrorCode.UNAVAILABLE, "why", 500), 503, "1"),
        (ErrorBody(ErrorCode.HANDLER_FAILED, "why"), 500, None),
        (ErrorBody(ErrorCode.DEADLINE_EXCEEDED, "why"), 504, None),
    ],
)
async def test_each_refusal_has_its_status(error: ErrorBody, status: int, retry_after: str | None) -> None:
    invoker = FakeInvoker()
    invoker.behaviour = lambda _: InferReply(INFER_VERSION, error=error)
    async with serving(invoker) as port, knock(port) as door:
        answer = await door.request("POST", INFER, ROW)
    assert answer.status == status
    assert answer.error == "why"
    assert answer.headers.get("retry-after") == retry_after


async def test_a_fault_is_told_as_an_internal_error_and_nothing_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_: InferRequest) -> InferReply:
        raise RuntimeError("secret")

    invoker = FakeInvoker()
    invoker.behaviour = broken
    async with serving(invoker) as port, knock(port) as door:
        answer = await door.request("POST", INFER, ROW)
        assert answer.status == 500
        assert answer.error == "internal error"
        assert "secret" in caplog.text  # for those who run the gateway
        invoker.behaviour = strict
        assert (await door.request("POST", INFER, ROW)).status == 200


@pytest.mark.parametrize(
    ("headers", "parameters", "least_us", "most_us"),
    [
        ({}, {}, 3_000_000, 60_000_000),
        ({"Fast_Timeout_Ms": "3000"}, {}, 0, 3_000_000),
        ({}, {"timeout": 3_000_000}, 0, 3_000_000),
        ({"Fast_Timeout_Ms": "3000"}, {"timeout": 90_000_000}, 0, 3_000_000),
        ({"Fast_Timeout_Ms": "999999999999"}, {}, 60_000_000, 120_000_000),
        ({}, {"timeout": 2**70}, 60_000_000, 120_000_000),
    ],
)
async def test_the_deadline_is_the_callers_within_the_gateways_bound(
    headers: dict[str, str], parameters: dict[str, int], least_us: int, most_us: int
) -> None:
    invoker = FakeInvoker()
    settings = HttpSettings(default_timeout_us=60_000_000, max_timeout_us=120_000_000)
    async with serving(invoker, settings=settings) as port, knock(port) as door:
        answer = await door.request("POST", INFER, body_of(1, 2, 3, 4, parameters=parameters), **headers)
    assert answer.status == 200
    assert least_us < invoker.asked[0].left_us <= most_us


async def test_a_trace_is_continued_with_a_span_of_its_own() -> None:
    invoker = FakeInvoker()
    caller = new_trace(sampled=True)
    async with serving(invoker) as port, knock(port) as door:
        await door.request("POST", INFER, ROW, Traceparent=caller.header())
    trace = invoker.asked[0].trace
    assert (trace.trace_id, trace.sampled) == (caller.trace_id, True)
    assert trace.span_id != caller.span_id


@pytest.mark.parametrize("value", [None, "", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "\xff"])
async def test_an_unusable_trace_is_begun_anew(value: str | None) -> None:
    invoker = FakeInvoker()
    headers = {} if value is None else {"Traceparent": value}
    async with serving(invoker) as port, knock(port) as door:
        assert (await door.request("POST", INFER, ROW, **headers)).status == 200
    assert int(invoker.asked[0].trace.trace_id, 16)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "GZIP", "identity"])
async def test_compressed_requests_are_read(coding: str) -> None:
    packed = {"gzip": gzip.compress(ROW), "deflate": zlib.compress(ROW)}.get(coding.lower(), ROW)
    async with serving(FakeInvoker()) as port, knock(port) as door:
        assert (await door.request("POST", INFER, packed, Content_Encoding=coding)).status == 200


@pytest.mark.parametrize(
    ("accepted", "count", "coding"),
    [
        ("gzip", 400, "gzip"),
        ("deflate", 400, "deflate"),
        ("gzip", 4, None),  # too small to be worth it
        ("gzip, deflate, br", 400, None),  # a library's habit, not a wish
        ("br", 400, None),
    ],
)
async def test_answers_are_compressed_for_those_who_ask_for_it(accepted: str, count: int, coding: str | None) -> None:
    async with serving(FakeInvoker()) as port, knock(port) as door:
        answer = await door.request("POST", INFER, body_of(*range(count)), Accept_Encoding=accepted)
    assert answer.headers.get("content-encoding") == coding
    window_bits = {"gzip": 31, "deflate": 15}
    plain = answer.body if coding is None else zlib.decompress(answer.body, window_bits[coding])
    assert json.loads(plain)["outputs"][0]["data"] == list(range(count))


async def test_any_content_type_is_read_as_what_it_should_be() -> None:
    async with serving(FakeInvoker()) as port, knock(port) as door:
        answer = await door.request("POST", INFER, ROW, Content_Type="application/x-www-form-urlencoded")
    assert answer.status == 200  # what curl says unless told otherwise
