"""The gateway's page for Prometheus, on the port that serves requests."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fastgshare.gateway.http.responses import route
from fastgshare.shared.telemetry.prometheus import CONTENT_TYPE, PATH


class MetricsRoute:
    """Serves what `write` returns."""

    def __init__(self, write: Callable[[], bytes]) -> None:
        self._write = write

    def routes(self) -> list[Route]:
        """The one route."""
        return [route(PATH, GET=self.page)]

    async def page(self, request: Request) -> Response:
        """The page, as it is now."""
        return Response(self._write(), headers={"content-type": CONTENT_TYPE})
