"""The console's routes: the page's files, which hold no data, and its data. Who may have it is the gate's matter."""

import anyio
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from fastgshare.gateway.console.definitions import MAX_TEXT_BYTES, plain
from fastgshare.gateway.console.frames import Frames
from fastgshare.gateway.console.pages import INDEX, Pages
from fastgshare.gateway.console.stream import FrameStream, Viewers
from fastgshare.gateway.console.surfaces import table_document
from fastgshare.gateway.http.body import BodyBudget, Hold, read_in_time
from fastgshare.gateway.http.errors import HttpRefused
from fastgshare.gateway.http.responses import JsonResponse, route
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.overview.fold import Overview

FRAME_INTERVAL_MS = 1000
MAX_VIEWERS = 64
TEXT_TIMEOUT_S = 10.0
_RETRY_AFTER_MS = 5000


class ConsoleRoutes:
    """Everything under `/console`, and the way there from `/`. `stop` ends every stream."""

    def __init__(
        self,
        overview: Overview,
        stop: anyio.Event,
        max_viewers: int = MAX_VIEWERS,
        interval_ms: int = FRAME_INTERVAL_MS,
    ) -> None:
        self._overview = overview
        self._frames = Frames(overview, unix_us, interval_ms)
        self._pages = Pages()
        self.viewers = Viewers(max_viewers, stop)
        self._budget = BodyBudget(8 * MAX_TEXT_BYTES)
        self._one_at_a_time = anyio.CapacityLimiter(1)

    def routes(self) -> list[BaseRoute]:
        """Every route."""
        return [
            route("/", GET=self.front),
            route("/console", GET=self.front),
            route("/console/", GET=self.page),
            route("/console/static/{file}", GET=self.file),
            route("/console/stream", GET=self.stream),
            route("/console/profiles/{function}", GET=self.profiles),
            route("/console/definition", POST=self.definition),
        ]

    async def front(self, request: Request) -> Response:
        """To the page, for browsers; programs that knock at `/` are told that there is nothing, as ever."""
        if request.url.path == "/" and "text/html" not in request.headers.get("accept", ""):
            raise HttpRefused(404, "no such path: /")
        return RedirectResponse("console/", 307)  # relative: a proxy may serve us under a path of its own

    async def page(self, request: Request) -> Response:
        """The page."""
        return self._file(INDEX, request)

    async def file(self, request: Request) -> Response:
        """A style sheet, a module or a picture of it."""
        return self._file(request.path_params["file"], request)

    async def stream(self, _: Request) -> Response:
        """The platform, once a second, as server-sent events."""
        if not self.viewers.has_room:
            message = f"{self.viewers.looking} consoles look at this gateway already, the limit is {self.viewers.limit}"
            raise RequestRefused(ErrorBody(ErrorCode.UNAVAILABLE, message, _RETRY_AFTER_MS))
        return FrameStream(self._frames, self.viewers)

    async def profiles(self, request: Request) -> Response:
        """What was measured of a function's model, by kind of device."""
        name = FunctionName(request.path_params["function"])
        spec = self._overview.spec(name)
        if spec is None:
            raise RequestRefused(ErrorBody(ErrorCode.NOT_FOUND, f"no function is called {name[:100]!r}"))
        tables = self._overview.tables(spec.model.digest)
        return JsonResponse({"function": name, "tables": [table_document(table) for table in tables]})

    async def definition(self, request: Request) -> Response:
        """A definition that a person wrote, YAML or JSON, as JSON: the page has no parser of its own."""
        hold = Hold(self._budget)
        try:
            body = await read_in_time(request.receive, MAX_TEXT_BYTES, hold, TEXT_TIMEOUT_S)
            return JsonResponse({"definition": await plain(body.decode(), self._one_at_a_time)})
        except UnicodeDecodeError as error:
            raise HttpRefused(400, f"not UTF-8: {error.reason} at byte {error.start}") from None
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise HttpRefused(400, f"has no form in JSON: {error}") from None
        finally:
            hold.release()

    def _file(self, name: str, request: Request) -> Response:
        found = self._pages.response(name, request)
        if found is None:
            raise HttpRefused(404, f"the console has no file {name[:100]!r}")
        return found
