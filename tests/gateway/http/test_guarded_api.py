"""What a gateway with API keys refuses, it refuses as its description says: every operation, every kind of key."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from anyio.from_thread import start_blocking_portal
from schemathesis.specs.openapi import checks

from fastgshare.gateway.core.keys import KeyBook
from fastgshare.gateway.http.gate import needed
from fastgshare.gateway.http.openapi import OPERATIONS, openapi_document
from fastgshare.shared.apikeys import key_digest, key_text
from fastgshare.shared.clock import unix_us
from fastgshare.shared.ids import FunctionName, GatewayId, KeyId
from fastgshare.shared.messages import ApiKey, KeyLimits, Scope
from tests.gateway.http.serving import FakeInvoker, serving
from tests.gateway.http.test_jobs import FakeJobs

PLACES = {"name": "echo", "version": "3", "id": "echo." + "0" * 24}
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]
LABELS = [f"{operation.method.upper()} {operation.path}" for operation in OPERATIONS]
FOREIGN, LOOKS, SPENT = (key_text(KeyId(f"{number:012x}"), bytes(24)) for number in range(3))


def book() -> KeyBook:
    """Keys about another function, to look alone, and with nothing left of today."""
    found = KeyBook(GatewayId("here"))
    now_us = unix_us()
    every = tuple(Scope)
    for number, (text, key) in enumerate(
        {
            FOREIGN: {"scopes": every, "functions": (FunctionName("other"),)},
            LOOKS: {"scopes": (Scope.READ,)},
            SPENT: {"scopes": every, "limits": KeyLimits(rate_rps=1e-6, burst=1)},
        }.items()
    ):
        known = ApiKey(key=KeyId(f"{number:012x}"), digest=key_digest(text), **key)  # type: ignore[arg-type]
        found.key_known(known, now_us)
    assert found.admit(SPENT, Scope.INVOKE, FunctionName("echo"), now_us) is None
    return found


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    door = serving(FakeInvoker(), doorkeeper=book(), jobs=FakeJobs())
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(door) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("label", LABELS)
def test_a_guarded_gateway_refuses_as_it_says(url: str, label: str) -> None:
    method, path = label.split()
    schema = schemathesis.openapi.from_dict(openapi_document())
    operation: Any = schema[path][method]
    need = needed(method, path.format(**PLACES))

    def ask(key: str | None) -> Any:
        parameters = {name: value for name, value in PLACES.items() if f"{{{name}}}" in path}
        headers = {"authorization": f"Bearer {key}"} if key else {}
        case = operation.Case(path_parameters=parameters, headers=headers)
        answer = case.call(base_url=url, timeout=20)
        if need is not None:
            case.validate_response(answer, checks=CHECKS)
        return answer

    if need is None:
        assert ask(None).status_code not in (401, 403)
        return
    unknown = ask(None)
    assert unknown.status_code == 401
    assert unknown.headers["www-authenticate"][0].startswith("Bearer")
    assert ask(FOREIGN).status_code == 403
    if need[0] is not Scope.READ:
        assert ask(LOOKS).status_code == 403
    if need[0] is Scope.INVOKE:
        spent = ask(SPENT)
        assert spent.status_code == 429
        assert int(spent.headers["retry-after"][0]) > 0
        assert spent.headers["ratelimit-remaining"] == ["0"]
