"""The application behind the HTTP port: the infer route in front, everything else behind a router."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from fastgshare.gateway.http.body import BodyBudget
from fastgshare.gateway.http.functions import FunctionRoutes
from fastgshare.gateway.http.infer import InferRoute, infer_target
from fastgshare.gateway.http.models import ModelRoutes
from fastgshare.gateway.http.responses import FAULTS
from fastgshare.gateway.http.settings import HttpSettings
from fastgshare.gateway.ports import Functions, Invoker


def build_app(
    invoker: Invoker, functions: Functions, settings: HttpSettings, more: Sequence[BaseRoute] = ()
) -> ASGIApp:
    """The gateway's HTTP application, with `more` routes beside its own. It owns nothing and needs no lifespan."""
    budget = BodyBudget(settings.max_bodies_bytes)
    infer = InferRoute(invoker, settings, budget)
    others = Starlette(
        routes=[
            *ModelRoutes(invoker, settings, budget).routes(),
            *FunctionRoutes(invoker, functions, settings, budget).routes(),
            *more,
        ],
        exception_handlers=FAULTS,
    )

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            target = infer_target(scope["path"])
            if target is not None:
                await infer(scope, receive, send, *target)
                return
        await others(scope, receive, send)

    return application
