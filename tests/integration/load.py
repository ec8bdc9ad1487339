"""Callers that send one request after the other, and what became of each: right, wrong, or refused, and when."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

import anyio
import httpx
import numpy as np

from fastgshare.client import Client, RequestRefused

PATIENCE_S = 50.0
SLACK_S = 3.0
PAUSE_S = 0.05
THINK_S = 0.005  # callers that leave no processor to those they wait for would test nothing else
WIDTH = 16


@dataclass(frozen=True)
class Call:
    """One request's end. `factor` is what the answer says the model multiplied by, 0 where there was none."""

    took_s: float
    timeout_s: float
    factor: float = 0.0
    refused: str = ""


@dataclass
class Load:
    """The calls so far; `callers` end theirs before the context does."""

    factors: set[float]
    calls: list[Call] = field(default_factory=list)
    stopping: bool = False
    changed: anyio.Event = field(default_factory=anyio.Event)

    @property
    def answers(self) -> list[Call]:
        """Those with a right answer."""
        return [call for call in self.calls if call.factor in self.factors]

    @property
    def last_factor(self) -> float:
        """What the newest answer was multiplied by."""
        return self.answers[-1].factor

    def failures(self) -> list[Call]:
        """Everything but right answers in time."""
        return [call for call in self.calls if call.factor not in self.factors or is_late(call)]

    def dishonest(self) -> list[Call]:
        """Wrong answers, and words that came after the deadline: what must never be."""
        return [call for call in self.calls if is_late(call) or not (call.refused or call.factor in self.factors)]

    def note(self, call: Call) -> None:
        self.calls.append(call)
        self.changed.set()
        self.changed = anyio.Event()

    async def more(self, answers: int) -> None:
        """Wait for this many more right answers."""
        enough = len(self.answers) + answers
        with anyio.fail_after(PATIENCE_S):
            while len(self.answers) < enough:
                await self.changed.wait()

    async def until_answered_by(self, factor: float) -> None:
        """Wait until this version answers."""
        with anyio.fail_after(PATIENCE_S):
            while not self.answers or self.last_factor != factor:
                await self.changed.wait()


def is_late(call: Call) -> bool:
    """Whether the caller had to wait for longer than it said, and than a busy machine explains."""
    return call.took_s > call.timeout_s + SLACK_S


Ask = Callable[[int, float], Awaitable[Call]]


@asynccontextmanager
async def under_load(
    ask: Ask, callers: int, timeout_s: float, factors: Iterable[float] = (1.0,)
) -> AsyncIterator[Load]:
    """So many callers of a function that answers `x` times a factor; at the end their last calls are awaited."""
    load = Load(set(factors))
    numbers = count(1)

    async def again_and_again() -> None:
        while not load.stopping:
            load.note(await ask(next(numbers), timeout_s))
            await anyio.sleep(THINK_S)

    async with anyio.create_task_group() as tasks:
        for _ in range(callers):
            tasks.start_soon(again_and_again)
        try:
            yield load
        finally:
            load.stopping = True


def by_nats(client: Client, function: str) -> Ask:
    """Calls through the Python client."""

    async def ask(number: int, timeout_s: float) -> Call:
        x = np.full((1, WIDTH), number, np.float32)
        begun_s = anyio.current_time()
        try:
            result = await client.invoke(function, {"x": x}, timeout_s=timeout_s)
        except RequestRefused as refused:
            call = Call(anyio.current_time() - begun_s, timeout_s, refused=str(refused))
            await anyio.sleep(PAUSE_S)
            return call
        answered = result.outputs["y"]
        factor = float(answered[0, 0]) / number
        return Call(anyio.current_time() - begun_s, timeout_s, factor if bool((answered == factor * x).all()) else -1.0)

    return ask


def by_http(http: httpx.AsyncClient, function: str) -> Ask:
    """Calls through a gateway's HTTP port."""

    async def ask(number: int, timeout_s: float) -> Call:
        document = {
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, WIDTH], "data": [number] * WIDTH}],
            "parameters": {"timeout": int(timeout_s * 1e6)},
        }
        begun_s = anyio.current_time()
        try:
            response = await http.post(f"/v2/models/{function}/infer", json=document, timeout=timeout_s + SLACK_S)
        except httpx.TransportError as error:
            call = Call(anyio.current_time() - begun_s, timeout_s, refused=type(error).__name__)
            await anyio.sleep(PAUSE_S)
            return call
        took_s = anyio.current_time() - begun_s
        if response.status_code != 200:
            await anyio.sleep(PAUSE_S)
            return Call(took_s, timeout_s, refused=f"{response.status_code} {response.json()['error']}")
        answered = response.json()["outputs"][0]["data"]
        return Call(took_s, timeout_s, answered[0] / number if len(set(answered)) == 1 else -1.0)

    return ask
