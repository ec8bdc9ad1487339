"""The application behind the HTTP port: the gate, the infer route, and everything else behind a router."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from fastgshare.gateway.core.turned_away import TurnedAway
from fastgshare.gateway.http.body import BodyBudget
from fastgshare.gateway.http.functions import FunctionRoutes
from fastgshare.gateway.http.gate import Gate
from fastgshare.gateway.http.infer import INFER, INFER_STREAM, InferRoute, infer_target
from fastgshare.gateway.http.jobs import JobRoutes
from fastgshare.gateway.http.models import ModelRoutes
from fastgshare.gateway.http.openapi import openapi_route
from fastgshare.gateway.http.responses import counting_faults
from fastgshare.gateway.http.settings import HttpSettings
from fastgshare.gateway.http.stream import StreamRoute
from fastgshare.gateway.ports import Functions, Invoker, Jobs, MeteredDoorkeeper, OpenDoor


def build_app(
    invoker: Invoker,
    functions: Functions,
    settings: HttpSettings,
    more: Sequence[BaseRoute] = (),
    *,
    doorkeeper: MeteredDoorkeeper | None = None,
    jobs: Jobs | None = None,
    turned_away: TurnedAway | None = None,
    budget: BodyBudget | None = None,
) -> ASGIApp:
    """The gateway's HTTP application, with `more` routes beside its own. It owns nothing and needs no lifespan.

    `budget` is what all doors share, of its own where it is missing.
    """
    budget = budget or BodyBudget(settings.max_bodies_bytes)
    turned_away = turned_away or TurnedAway()
    infer = InferRoute(invoker, settings, budget, turned_away)
    stream = StreamRoute(invoker, settings, budget, turned_away)
    job_routes = JobRoutes(invoker, jobs, infer, budget).routes() if jobs is not None else []
    others = Starlette(
        routes=[
            *ModelRoutes(invoker, settings, budget).routes(),
            *FunctionRoutes(invoker, functions, settings, budget).routes(),
            *job_routes,
            openapi_route(),
            *more,
        ],
        exception_handlers=counting_faults(turned_away),
    )

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            path = scope["path"]
            for suffix, answer in ((INFER, infer), (INFER_STREAM, stream)):
                target = infer_target(path, suffix)
                if target is not None:
                    await answer(scope, receive, send, *target)
                    return
        await others(scope, receive, send)

    return Gate(application, doorkeeper or OpenDoor(), turned_away)
