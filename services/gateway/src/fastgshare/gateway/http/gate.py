"""Who may ask for what over HTTP: one place before every route, so that no route can be forgotten.

What is not named here needs the scope `read`. Open to everybody are health, the server's own name, the API's
description and the console's files, which hold no data.
"""

import re
from collections.abc import Awaitable
from typing import Any

from starlette.types import ASGIApp

from fastgshare.gateway.core.keys import KeyLeft, shown_key
from fastgshare.gateway.core.turned_away import HTTP_DOOR, TurnedAway
from fastgshare.gateway.http.errors import UNAUTHORIZED, Headers, error_content, refusal_headers
from fastgshare.gateway.ports import MeteredDoorkeeper, Scope
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import ErrorBody
from fastgshare.shared.ids import FunctionName

INVOKING = ("infer", "infer_async", "infer_stream")
_OPEN = frozenset(("/", "/v2", "/v2/", "/v2/health/live", "/v2/health/ready", "/openapi.json", "/console", "/console/"))
_CONSOLE_FILE = re.compile(r"/console/[\w./-]*\.(?:html|css|js|mjs|svg|png|ico|webmanifest)")
_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/[^/]+)?(?:/([^/]+))?")
_FUNCTION = re.compile(r"/v1/functions/([^/]+)(?:/[^/]+)?")
_JOB = re.compile(r"/v1/jobs/([^/.]+)\.[^/]*(?:/[^/]+)?")
_KEY_HEADERS = (b"authorization", b"x-api-key")

Need = tuple[Scope, FunctionName | None]


def needed(method: str, path: str) -> Need | None:
    """The scope that a request needs, and the function it is about; None: it is open to everybody."""
    if path in _OPEN or (method in ("GET", "HEAD") and _CONSOLE_FILE.fullmatch(path)):
        return None
    if model := _MODEL.fullmatch(path):
        invokes = method == "POST" and model[2] in INVOKING
        about = FunctionName(model[1]) if model[2] is not None or model[1] != "stats" else None
        return (Scope.INVOKE if invokes else Scope.READ), about
    if job := _JOB.fullmatch(path):  # its id is a secret of whoever submitted it: their scope to call will do
        return Scope.READ, FunctionName(job[1])
    function = _FUNCTION.fullmatch(path)
    changes = path.startswith("/v1/") and method not in ("GET", "HEAD")
    return (Scope.MANAGE if changes else Scope.READ), FunctionName(function[1]) if function else None


class Gate:
    """Stands before an application: lets its callers through, or answers them itself."""

    def __init__(self, app: ASGIApp, doorkeeper: MeteredDoorkeeper, turned_away: TurnedAway) -> None:
        self._app = app
        self._turned_away = turned_away
        self._doorkeeper = doorkeeper

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        """One request. Where everybody is let in, nothing stands between it and the application, not even a frame."""
        if scope["type"] != "http" or self._doorkeeper.is_open:
            return self._app(scope, receive, send)
        return self._guard(scope, receive, send)

    async def _guard(self, scope: Any, receive: Any, send: Any) -> None:
        need = needed(scope["method"], scope["path"])
        if need is None:
            await self._app(scope, receive, send)
            return
        shown = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"] if name in _KEY_HEADERS]
        key = shown_key(shown)
        now_us = unix_us()
        refused = self._doorkeeper.admit(key, *need, now_us)
        left = self._doorkeeper.left(key, now_us) if need[0] is Scope.INVOKE else None
        if refused is not None:
            self._turned_away.count(HTTP_DOOR, refused.code)
            await _refuse(send, refused, left)
        elif left is not None:
            await self._app(scope, receive, _telling(send, rate_headers(left)))
        else:
            await self._app(scope, receive, send)


def rate_headers(left: KeyLeft) -> Headers:
    """What is left of a key's limits."""
    return [
        (b"ratelimit-limit", b"%d" % left.limit),
        (b"ratelimit-remaining", b"%d" % left.remaining),
        (b"ratelimit-reset", b"%d" % left.reset_s),
    ]


def _telling(send: Any, headers: Headers) -> Any:
    async def tell(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *headers]}
        await send(message)

    return tell


async def _refuse(send: Any, refused: ErrorBody, left: KeyLeft | None) -> None:
    content, headers = error_content(refused.message)
    headers += refusal_headers(refused)
    if refused.http_status == UNAUTHORIZED:
        headers.append((b"www-authenticate", b'Bearer realm="fastgshare"'))
    if left is not None:
        headers += rate_headers(left)
    await send({"type": "http.response.start", "status": refused.http_status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
