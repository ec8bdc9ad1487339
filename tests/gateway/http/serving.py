"""A gateway's HTTP door on a free port before a fake inside, and raw bytes to knock on it with."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import anyio
from msgspec.structs import replace
from starlette.routing import BaseRoute

from fastgshare.gateway.core.keys import KeyBook
from fastgshare.gateway.core.turned_away import TurnedAway
from fastgshare.gateway.http import BodyBudget, HttpSettings, build_app, serve_http
from fastgshare.gateway.ports import FunctionStats, FunctionView, Jobs
from fastgshare.shared.buckets import RevisionConflict
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import ErrorBody, ErrorCode, InvalidSpec
from fastgshare.shared.functions import next_spec, problems_with
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import Digest, FunctionName
from fastgshare.shared.messages import (
    INFER_VERSION,
    FunctionSpec,
    InferReply,
    InferRequest,
    ModelRef,
    Signature,
)
from fastgshare.shared.objects import digest_of
from fastgshare.shared.registry import MayReplace
from fastgshare.shared.tensors import problem_with_inputs
from fastgshare.shared.tracing import TraceContext

PATIENCE_S = 10.0
ECHO = FunctionName("echo")
SPEC = FunctionSpec(name=ECHO, model=ModelRef(digest=Digest("0" * 64), size_bytes=1), generation=3)
NUMBERS = (TensorSpec("x", "FP32", (-1, 4)),)
VIEW = FunctionView(
    spec=SPEC,
    generation=3,
    signature=Signature(inputs=NUMBERS, outputs=NUMBERS, batched=True),
    ready_replicas=1,
)

Behaviour = Callable[[InferRequest], InferReply]


def echo(request: InferRequest) -> InferReply:
    """What came in goes out."""
    return InferReply(INFER_VERSION, request.inputs)


def strict(request: InferRequest) -> InferReply:
    """Echo for those who keep to the signature; the rest is told what was expected, as the gateway's core does."""
    problem = problem_with_inputs(request.inputs, NUMBERS, 8)
    if problem is not None:
        return InferReply(INFER_VERSION, error=ErrorBody(ErrorCode.INVALID, problem))
    return echo(request)


class Asked(NamedTuple):
    """What an invoker was asked."""

    function: FunctionName
    request: InferRequest
    left_us: int
    trace: TraceContext


class FakeInvoker:
    """Answers at once with `behaviour`, or, while `hold` is set, when `go` is; remembers what it was asked."""

    def __init__(self, *views: FunctionView) -> None:
        self.views = {view.spec.name: view for view in views or (VIEW,)}
        self.behaviour: Behaviour = echo
        self.ready = True
        self.asked: list[Asked] = []
        self.go: anyio.Event | None = None
        self.waiting = 0
        self.cancelled = 0
        self.parts: Callable[[InferRequest], Iterable[InferReply]] = lambda request: [self.behaviour(request)]
        self.closed = 0

    async def invoke(
        self,
        function: FunctionName,
        request: InferRequest,
        deadline_us: int,
        trace: TraceContext,
        door: str = "http",
    ) -> InferReply:
        self.asked.append(Asked(function, request, deadline_us - unix_us(), trace))
        if self.go is not None:
            await self._wait(self.go)
        return self.behaviour(request)

    async def invoke_stream(
        self,
        function: FunctionName,
        request: InferRequest,
        deadline_us: int,
        trace: TraceContext,
        door: str = "http",
    ) -> AsyncGenerator[InferReply, None]:
        self.asked.append(Asked(function, request, deadline_us - unix_us(), trace))
        try:
            for reply in self.parts(request):
                yield reply
                if self.go is not None:
                    await self._wait(self.go)
        finally:
            self.closed += 1

    async def _wait(self, go: anyio.Event) -> None:
        self.waiting += 1
        try:
            await go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1

    def describe(self, function: FunctionName) -> FunctionView | None:
        return self.views.get(function)

    async def wait_for(self, function: FunctionName) -> None:
        pass

    def list(self) -> list[FunctionView]:
        return list(self.views.values())

    def stats(self, function: FunctionName) -> FunctionStats | None:
        return FunctionStats(success_count=len(self.asked), success_us=50) if function in self.views else None

    def is_ready(self) -> bool:
        return self.ready


class FakeFunctions:
    """A `functions` bucket in a dictionary; `fault` is raised by every call while it is set."""

    def __init__(self) -> None:
        self.specs: dict[FunctionName, FunctionSpec] = {}
        self.stored: dict[Digest, bytes] = {}
        self.fault: Exception | None = None

    async def define(self, spec: FunctionSpec, may_replace: MayReplace = lambda _: True) -> FunctionSpec:
        self._check()
        if not may_replace(self.specs.get(spec.name)):
            raise RevisionConflict(bucket="functions", key=spec.name)
        if problems := problems_with(spec):
            raise InvalidSpec(problems)
        self.specs[spec.name] = next_spec(self.specs.get(spec.name), spec)
        return self.specs[spec.name]

    async def remove(self, name: FunctionName) -> bool:
        self._check()
        return self.specs.pop(name, None) is not None

    async def scale(self, name: FunctionName, replicas: int) -> FunctionSpec | None:
        self._check()
        spec = self.specs.get(name)
        return None if spec is None else await self.define(replace(spec, replicas=replicas))

    async def store(self, path: Path) -> Digest:
        self._check()
        digest = digest_of(path)
        self.stored[digest] = path.read_bytes()
        return digest

    def _check(self) -> None:
        if self.fault is not None:
            raise self.fault


@asynccontextmanager
async def serving(
    invoker: FakeInvoker,
    functions: FakeFunctions | None = None,
    settings: HttpSettings | None = None,
    *,
    doorkeeper: KeyBook | None = None,
    jobs: Jobs | None = None,
    turned_away: TurnedAway | None = None,
    more: Sequence[BaseRoute] = (),
    budget: BodyBudget | None = None,
) -> AsyncIterator[int]:
    """The port of a server that stops at the end; it must stop by itself, without being told twice."""
    app = build_app(
        invoker,
        functions or FakeFunctions(),
        settings or HttpSettings(),
        more,
        doorkeeper=doorkeeper,
        jobs=jobs,
        turned_away=turned_away,
        budget=budget,
    )
    stop = anyio.Event()
    async with anyio.create_task_group() as tasks:

        async def serve(*, task_status: anyio.abc.TaskStatus[int] = anyio.TASK_STATUS_IGNORED) -> None:
            await serve_http(app, "127.0.0.1", 0, stop=stop, task_status=task_status)

        port: int = await tasks.start(serve)
        try:
            yield port
        finally:
            stop.set()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, not for a time."""
    with anyio.fail_after(PATIENCE_S):
        while not condition():
            await anyio.sleep(0.002)


class Answer:
    """A response that was read to its end."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def document(self) -> dict[str, object]:
        """The body as a JSON object."""
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found

    @property
    def error(self) -> str:
        """What went wrong, in words; there is nothing beside it."""
        assert self.headers["content-type"] == "application/json"
        assert list(self.document) == ["error"]
        return str(self.document["error"])


class Knock:
    """A raw connection: sends any bytes, reads whole responses."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> Answer:
        with anyio.fail_after(PATIENCE_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status_line, *lines = head.rstrip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(status_line.split()[1]), headers, body)

    async def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        head = "\r\n".join([f"{method} {path} HTTP/1.1", "host: test", f"content-length: {len(body)}", *lines])
        await self.send(head.encode("latin-1") + b"\r\n\r\n" + body)
        return await self.answer()

    async def is_closed(self) -> bool:
        """Wait until the server hangs up; what it still said is dropped."""
        with anyio.fail_after(PATIENCE_S):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                return True
        return True


@asynccontextmanager
async def knock(port: int) -> AsyncIterator[Knock]:
    """A raw connection to a port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Knock(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def body_of(*values: float, **fields: object) -> bytes:
    """An infer request of one row for `echo`."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, len(values)], "data": list(values)}
    return json.dumps({"inputs": [tensor], **fields}).encode()


ROW = body_of(1, 2.5, 3, 4)
INFER = "/v2/models/echo/infer"
