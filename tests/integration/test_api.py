"""The HTTP API against its own description, with whatever schemathesis makes of it: no fault, and no surprise.

Expected refusals with 503 say when to come back; an internal error is never expected.
"""

from collections.abc import Iterator
from typing import Any

import anyio
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CheckContext
from schemathesis.specs.openapi import checks

from fastgshare.gateway.http.openapi import OPERATIONS, openapi_document
from tests.integration import functions
from tests.integration.doors import deployed, door, json_body, rows
from tests.integration.world import World

pytestmark = pytest.mark.timeout(240)

SETTINGS = settings(
    max_examples=8,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
SCRATCH = "scratch"
PATIENCE_S = 40.0


def no_fault(_: CheckContext, response: Any, case: Any) -> None:
    """Server errors are those that are meant."""
    assert response.status_code != 500, response.text
    if response.status_code == 503 and "/ready" not in case.path:
        assert "retry-after" in response.headers, response.text


CHECKS = [
    no_fault,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]


@pytest.fixture(scope="module")
def platform(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, str, str]]:
    """A platform with a function that serves, and the id of a job of it that is done."""
    directory = tmp_path_factory.mktemp("api")
    name = "described"
    definition = functions.times(name, directory, 2.0)
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(deployed(world, definition)),
    ):
        yield world, name, portal.call(a_job, world, name)


async def a_job(world: World, name: str) -> str:
    async with door(world.http_url) as http:
        taken = await http.post(f"/v2/models/{name}/infer_async", json=json_body({"x": rows(1)}))
        assert taken.status_code == 202, taken.text
        job = str(taken.json()["id"])
        with anyio.fail_after(PATIENCE_S):
            while (await http.get(f"/v1/jobs/{job}")).json()["state"] != "done":
                await anyio.sleep(0.05)
    return job


@pytest.mark.parametrize("label", [f"{operation.method.upper()} {operation.path}" for operation in OPERATIONS])
def test_the_api_does_what_it_says(platform: tuple[World, str, str], label: str) -> None:
    world, name, job = platform
    schema = schemathesis.openapi.from_dict(openapi_document())
    method, path = label.split()
    operation = schema[path][method]
    changes = method in ("PUT", "DELETE") or path.startswith("/v1/functions")
    turn = 0

    @SETTINGS
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        nonlocal turn
        turn += 1
        parameters = case.path_parameters or {}
        if "name" in parameters and turn % 3:  # two of three times one that stands
            parameters["name"] = SCRATCH if changes else name
        if "version" in parameters and turn % 2:
            parameters["version"] = "1"
        if "id" in parameters and turn % 3:
            parameters["id"] = job
        if case.headers is not None and "Fast-Timeout-Ms" in case.headers:
            case.headers["Fast-Timeout-Ms"] = "2000"
        case.call_and_validate(base_url=world.http_url, checks=CHECKS, timeout=PATIENCE_S)

    ask()
    with anyio.from_thread.start_blocking_portal() as portal:
        portal.call(still_answers, world, name)


async def still_answers(world: World, name: str) -> None:
    async with door(world.http_url) as http:
        answer = await http.post(f"/v2/models/{name}/infer", json=json_body({"x": rows(3)}))
        assert answer.status_code == 200, answer.text
