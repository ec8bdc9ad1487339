"""An event stream of frames for one viewer: ends with the viewer, with the gateway, or when nobody takes them."""

import anyio
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from fastgshare.gateway.console.frames import Frames
from fastgshare.gateway.console.pages import HEADERS
from fastgshare.shared.units import us_to_s

TAKEN_WITHIN_S = 20.0
EVENT_STREAM = "text/event-stream"


class Viewers:
    """A bounded number of viewers; all of them leave when `stop` is set, so that none delays the gateway's end."""

    def __init__(self, limit: int, stop: anyio.Event) -> None:
        self.limit = limit
        self.looking = 0
        self.stop = stop

    @property
    def has_room(self) -> bool:
        """Whether one more may look."""
        return self.looking < self.limit


class FrameStream(Response):
    """The response that a viewer reads for as long as it looks."""

    def __init__(self, frames: Frames, viewers: Viewers) -> None:
        super().__init__(headers={**HEADERS, "x-accel-buffering": "no"}, media_type=EVENT_STREAM)
        del self.headers["content-length"]
        self._frames = frames
        self._viewers = viewers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send frames until the viewer goes or the gateway does."""
        self._viewers.looking += 1
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_until_gone, receive, tasks.cancel_scope)
                await self._show(send)
                tasks.cancel_scope.cancel()
        finally:
            self._viewers.looking -= 1

    async def _show(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        took = await _taken(send, start)
        while took and not self._viewers.stop.is_set():
            took = await _taken(send, _body(self._frames.newest(), more=True))
            with anyio.move_on_after(us_to_s(self._frames.until_next_us())):
                await self._viewers.stop.wait()
        if took:
            await _taken(send, _body(b"", more=False))


def _body(content: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


async def _taken(send: Send, message: Message) -> bool:
    with anyio.move_on_after(TAKEN_WITHIN_S):
        await send(message)
        return True
    return False


async def _until_gone(receive: Receive, viewing: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    viewing.cancel()
