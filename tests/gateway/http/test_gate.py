"""Keys at the HTTP door: what each path needs, how a refusal reads, and what headers tell of the limits."""

import pytest
from starlette.requests import Request
from starlette.responses import Response

from fastgshare.gateway.core.keys import KeyBook
from fastgshare.gateway.core.turned_away import TurnedAway
from fastgshare.gateway.http import HttpSettings
from fastgshare.gateway.http.gate import Need, needed
from fastgshare.gateway.http.responses import route
from fastgshare.shared.apikeys import key_digest, key_text
from fastgshare.shared.buckets import RevisionConflict, StorageUnavailable
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused
from fastgshare.shared.ids import FunctionName, GatewayId, KeyId
from fastgshare.shared.messages import ApiKey, KeyLimits, Scope
from tests.gateway.http.serving import ECHO, INFER, ROW, FakeFunctions, FakeInvoker, knock, serving

ID = KeyId("0a1b2c3d4e5f")
TEXT = key_text(ID, b"s" * 24)
NO_LIMITS = KeyLimits()
INVOKE, READ, MANAGE = (Scope.INVOKE, ECHO), (Scope.READ, ECHO), (Scope.MANAGE, ECHO)
READ_ALL, MANAGE_ALL = (Scope.READ, None), (Scope.MANAGE, None)


def book(*scopes: Scope, functions: tuple[FunctionName, ...] = (), limits: KeyLimits = NO_LIMITS) -> KeyBook:
    found = KeyBook(GatewayId("here"))
    key = ApiKey(key=ID, digest=key_digest(TEXT), scopes=scopes, functions=functions, limits=limits)
    found.key_known(key, unix_us())
    return found


@pytest.mark.parametrize(
    ("method", "path", "need"),
    [
        ("GET", "/v2/health/live", None),
        ("GET", "/v2/health/ready", None),
        ("GET", "/v2", None),
        ("GET", "/openapi.json", None),
        ("GET", "/console/", None),
        ("GET", "/console/static/page.js", None),
        ("GET", "/console/stream", READ_ALL),
        ("GET", "/console/profiles/echo", READ_ALL),
        ("POST", "/console/static/page.js", READ_ALL),
        ("GET", "/metrics", READ_ALL),
        ("GET", "/anything/else", READ_ALL),
        ("POST", "/v2/models/echo/infer", INVOKE),
        ("POST", "/v2/models/echo/versions/3/infer", INVOKE),
        ("POST", "/v2/models/echo/infer_async", INVOKE),
        ("POST", "/v2/models/echo/infer_stream", INVOKE),
        ("GET", "/v2/models/echo/infer", READ),
        ("GET", "/v2/models/echo", READ),
        ("GET", "/v2/models/echo/versions/3/config", READ),
        ("GET", "/v2/models/stats", READ_ALL),
        ("POST", "/v2/models/stats/infer", (Scope.INVOKE, "stats")),
        ("POST", "/v2/repository/index", READ_ALL),
        ("GET", "/v1/status", READ_ALL),
        ("GET", "/v1/functions", READ_ALL),
        ("POST", "/v1/functions", MANAGE_ALL),
        ("GET", "/v1/functions/echo", READ),
        ("PUT", "/v1/functions/echo", MANAGE),
        ("POST", "/v1/functions/echo/scale", MANAGE),
        ("DELETE", "/v1/functions/echo", MANAGE),
        ("PUT", "/v1/models", MANAGE_ALL),
        ("GET", "/v1/jobs/echo.0a1b", READ),
        ("DELETE", "/v1/jobs/echo.0a1b", READ),
        ("GET", "/v1/jobs/echo.0a1b/result", READ),
        ("DELETE", "/v1/jobs/nonsense", MANAGE_ALL),
    ],
)
def test_each_path_needs_a_scope(method: str, path: str, need: Need | None) -> None:
    assert needed(method, path) == need


async def test_who_has_no_key_is_told_how_to_send_one() -> None:
    invoker = FakeInvoker()
    async with serving(invoker, doorkeeper=book(Scope.INVOKE)) as port, knock(port) as door:
        answer = await door.request("POST", INFER, ROW)
        assert answer.status == 401
        assert "X-Api-Key" in answer.error
        assert answer.headers["www-authenticate"] == 'Bearer realm="fastgshare"'
        assert (await door.request("GET", "/v2/health/ready")).status == 200
        assert (await door.request("GET", "/v1/nothing")).status == 401
    assert invoker.asked == []


@pytest.mark.parametrize(
    "header", [{"Authorization": f"Bearer {TEXT}"}, {"Authorization": f"bearer  {TEXT} "}, {"X_Api_Key": TEXT}]
)
async def test_who_shows_a_key_may_do_what_it_allows(header: dict[str, str]) -> None:
    async with serving(FakeInvoker(), doorkeeper=book(Scope.INVOKE)) as port, knock(port) as door:
        answer = await door.request("POST", INFER, ROW, **header)
        assert answer.status == 200
        assert "ratelimit-limit" not in answer.headers
        assert (await door.request("GET", "/v2/models/echo", b"", **header)).status == 200
        forbidden = await door.request("DELETE", "/v1/functions/echo", b"", **header)
        assert (forbidden.status, forbidden.error) == (403, "this API key may invoke, not manage")


async def test_a_path_that_hides_the_function_opens_nothing() -> None:
    """What the router decodes is what the gate saw."""
    only_other = book(*Scope, functions=(FunctionName("other"),))
    async with serving(FakeInvoker(), doorkeeper=only_other) as port, knock(port) as door:
        for path in (INFER, "/v2/models/%65cho/infer", "/v2/models/other/../echo/infer", "/v2//models/echo/infer"):
            answer = await door.request("POST", path, ROW, X_Api_Key=TEXT)
            assert answer.status in (403, 404), path


async def test_limits_are_told_in_headers_and_a_refusal_says_when_to_come_back() -> None:
    limited = book(Scope.INVOKE, limits=KeyLimits(rate_rps=0.001, burst=2))
    async with serving(FakeInvoker(), doorkeeper=limited) as port, knock(port) as door:
        first = await door.request("POST", INFER, ROW, X_Api_Key=TEXT)
        assert (first.headers["ratelimit-limit"], first.headers["ratelimit-remaining"]) == ("2", "1")
        assert (await door.request("POST", INFER, ROW, X_Api_Key=TEXT)).headers["ratelimit-remaining"] == "0"
        refused = await door.request("POST", INFER, ROW, X_Api_Key=TEXT)
        assert refused.status == 429
        assert refused.headers["ratelimit-remaining"] == "0"
        assert 900 < int(refused.headers["retry-after"]) <= 1000
        assert (await door.request("GET", "/v2/models/echo", X_Api_Key=TEXT)).status == 200


async def test_who_is_turned_away_is_counted_by_door_and_code() -> None:
    turned_away = TurnedAway()
    settings = HttpSettings(max_body_bytes=64)
    async with (
        serving(FakeInvoker(), settings=settings, doorkeeper=book(Scope.INVOKE), turned_away=turned_away) as port,
        knock(port) as door,
    ):
        await door.request("POST", INFER, ROW)
        await door.request("GET", "/metrics", x_api_key=TEXT)
        await door.request("POST", INFER, b"{", x_api_key=TEXT)
        await door.request("POST", "/v2/models/none/infer", b"{}", x_api_key=TEXT)
        await door.request("POST", INFER, b"x" * 65, x_api_key=TEXT)
    assert turned_away.counted == {
        ("http", "unauthorized"): 1,
        ("http", "forbidden"): 1,
        ("http", "too_large"): 1,
        ("http", "invalid"): 1,
        ("http", "not_found"): 1,
    }


async def test_refusals_of_management_and_of_paths_that_are_not_there_count_too() -> None:
    turned_away, functions = TurnedAway(), FakeFunctions()
    console = route("/console/refuses", GET=refusing)
    async with (
        serving(FakeInvoker(), functions, turned_away=turned_away, more=[console]) as port,
        knock(port) as door,
    ):
        for method, path, body, status in (
            ("GET", "/v1/functions/none", b"", 404),
            ("GET", "/nowhere/" + "x" * 50, b"", 404),
            ("PATCH", "/v1/functions", b"", 405),
            ("POST", "/v1/functions", b"{", 400),
            ("POST", "/v1/functions", b"{}", 400),
            ("GET", "/console/refuses", b"", 503),
            ("GET", "/v1/functions", b"", 200),
        ):
            answer = await door.request(method, path, body, Content_Type="application/json")
            assert answer.status == status, path
        functions.fault = RevisionConflict(bucket="functions", key="none")
        assert (await door.request("DELETE", "/v1/functions/none")).status == 409
        functions.fault = StorageUnavailable(bucket="functions", key="none", reason="away")
        assert (await door.request("DELETE", "/v1/functions/none")).status == 503
    assert turned_away.counted == {
        ("http", "not_found"): 2,
        ("http", "invalid"): 3,
        ("http", "unavailable"): 2,
        ("http", "conflict"): 1,
    }


async def refusing(request: Request) -> Response:
    raise RequestRefused(ErrorBody(ErrorCode.UNAVAILABLE, "too many look"))
