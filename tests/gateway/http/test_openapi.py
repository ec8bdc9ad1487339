"""The API's description is current, complete and served."""

import json

from fastgshare.gateway.core.turned_away import TurnedAway
from fastgshare.gateway.http import HttpSettings
from fastgshare.gateway.http.body import BodyBudget
from fastgshare.gateway.http.functions import FunctionRoutes
from fastgshare.gateway.http.infer import InferRoute
from fastgshare.gateway.http.jobs import JobRoutes
from fastgshare.gateway.http.models import ModelRoutes
from fastgshare.gateway.http.openapi import OPERATIONS, openapi_document, openapi_route
from tests.gateway.http.serving import FakeFunctions, FakeInvoker, knock, serving
from tests.gateway.http.test_jobs import FakeJobs


def test_every_route_is_described() -> None:
    invoker, settings, budget = FakeInvoker(), HttpSettings(), BodyBudget(1)
    routes = [
        *ModelRoutes(invoker, settings, budget).routes(),
        *FunctionRoutes(invoker, FakeFunctions(), settings, budget).routes(),
        *JobRoutes(invoker, FakeJobs(), InferRoute(invoker, settings, budget, TurnedAway()), budget).routes(),
        openapi_route(),
    ]
    offered = {(method.lower(), route.path) for route in routes for method in route.methods or () if method != "HEAD"}
    assert {(operation.method, operation.path) for operation in OPERATIONS} == offered


async def test_it_is_served_to_everybody() -> None:
    async with serving(FakeInvoker()) as port, knock(port) as door:
        answer = await door.request("GET", "/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.document == json.loads(json.dumps(openapi_document()))


def test_it_tells_the_scope_that_each_operation_needs() -> None:
    paths = openapi_document()["paths"]
    assert "`invoke`" in paths["/v2/models/{name}/infer_async"]["post"]["description"]
    assert "`manage`" in paths["/v1/functions/{name}"]["delete"]["description"]
    assert paths["/v2/health/live"]["get"]["security"] == []
