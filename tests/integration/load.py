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
STALL_S = 1.0
LOOK_S = 0.05
LONGEST_LOOK_AWAY_S = 0.5
PAUSE_S = 0.05
THINK_S = 0.005  # callers that leave no processor to those they wait for would test nothing else
WIDTH = 16


class Clock:
    """Time as this machine lived it: where all of it stood still for a while, nobody is late for that."""

    def __init__(self) -> None:
        self._lived_s = 0.0
        self._looked_s = anyio.current_time()

    def lived_s(self) -> float:
        """Seconds lived since the start; `keep` looks at the time more often than a life stands still."""
        now_s = anyio.current_time()
        self._lived_s += min(now_s - self._looked_s, LONGEST_LOOK_AWAY_S)
        self._looked_s = now_s
        return self._lived_s

    async def keep(self) -> None:
        """Look at the time until cancelled."""
        while True:
            self.lived_s()
            await anyio.sleep(LOOK_S)


@dataclass(frozen=True)
class Answer:
    """What came of a request: what the model multiplied by, as the answer says (0: no answer), or a refusal."""

    factor: float = 0.0
    refused: str = ""


@dataclass(frozen=True)
class Call:
    """One request's end. While it lasted, the machine stood still for `stalled_s`."""

    answer: Answer
    took_s: float
    timeout_s: float
    stalled_s: float = 0.0

    @property
    def is_late(self) -> bool:
        """Whether the caller had to wait for longer than it said, and than a busy machine explains."""
        return self.took_s > self.timeout_s + SLACK_S


@dataclass
class Load:
    """The calls so far; `callers` end theirs before the context does."""

    factors: set[float]
    clock: Clock = field(default_factory=Clock)
    calls: list[Call] = field(default_factory=list)
    stopping: bool = False
    changed: anyio.Event = field(default_factory=anyio.Event)

    @property
    def answers(self) -> list[Call]:
        """Those with a right answer."""
        return [call for call in self.calls if call.answer.factor in self.factors]

    @property
    def last_factor(self) -> float:
        """What the newest answer was multiplied by."""
        return self.answers[-1].answer.factor

    def failures(self) -> list[Call]:
        """Everything but right answers in time, where time did not stand still."""
        wrong = [call for call in self.calls if call.is_late or call.answer.factor not in self.factors]
        return [call for call in wrong if call.stalled_s < STALL_S or not call.answer.refused]

    def dishonest(self) -> list[Call]:
        """Wrong answers, and words that came after the deadline: what must never be."""
        return [
            call
            for call in self.calls
            if call.is_late or not (call.answer.refused or call.answer.factor in self.factors)
        ]

    def note(self, call: Call) -> None:
        self.calls.append(call)
        self.changed.set()
        self.changed = anyio.Event()

    async def more(self, answers: int) -> None:
        """Wait for this many more right answers."""
        enough = len(self.answers) + answers
        await self._until(lambda: len(self.answers) >= enough)

    async def until_refused(self, refusals: int) -> None:
        """Wait for this many refusals."""
        await self._until(lambda: sum(bool(call.answer.refused) for call in self.calls) >= refusals)

    async def until_answered_by(self, factor: float) -> None:
        """Wait until this version answers."""
        await self._until(lambda: bool(self.answers) and self.last_factor == factor)

    async def _until(self, condition: Callable[[], bool]) -> None:
        given_up_s = self.clock.lived_s() + PATIENCE_S
        while not condition():
            if self.clock.lived_s() > given_up_s:
                raise TimeoutError(f"{len(self.calls)} calls, the last: {self.calls[-3:]}")
            with anyio.move_on_after(LOOK_S):
                await self.changed.wait()


Ask = Callable[[int, float], Awaitable[Answer]]


@asynccontextmanager
async def under_load(
    ask: Ask, callers: int, timeout_s: float, factors: Iterable[float] = (1.0,)
) -> AsyncIterator[Load]:
    """So many callers of a function that answers `x` times a factor; at the end their last calls are awaited."""
    load = Load(set(factors))
    clock = load.clock
    numbers = count(1)

    async def again_and_again() -> None:
        while not load.stopping:
            begun_s, begun_lived_s = anyio.current_time(), clock.lived_s()
            answer = await ask(next(numbers), timeout_s)
            took_s = clock.lived_s() - begun_lived_s
            load.note(Call(answer, took_s, timeout_s, anyio.current_time() - begun_s - took_s))
            await anyio.sleep(PAUSE_S if answer.refused else THINK_S)

    async with anyio.create_task_group() as keeping:
        keeping.start_soon(clock.keep)
        async with anyio.create_task_group() as tasks:
            for _ in range(callers):
                tasks.start_soon(again_and_again)
            try:
                yield load
            finally:
                load.stopping = True
        keeping.cancel_scope.cancel()


def by_nats(client: Client, function: str, width: int = WIDTH) -> Ask:
    """Calls through the Python client."""

    async def ask(number: int, timeout_s: float) -> Answer:
        x = np.full((1, width), number, np.float32)
        try:
            result = await client.invoke(function, {"x": x}, timeout_s=timeout_s)
        except RequestRefused as refused:
            return Answer(refused=str(refused))
        answered = result.outputs["y"]
        factor = float(answered[0, 0]) / number
        return Answer(factor if bool((answered == factor * x).all()) else -1.0)

    return ask


def by_http(http: httpx.AsyncClient, function: str) -> Ask:
    """Calls through a gateway's HTTP port."""

    async def ask(number: int, timeout_s: float) -> Answer:
        document = {
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, WIDTH], "data": [number] * WIDTH}],
            "parameters": {"timeout": int(timeout_s * 1e6)},
        }
        try:
            response = await http.post(f"/v2/models/{function}/infer", json=document, timeout=timeout_s + SLACK_S)
        except httpx.TransportError as error:
            return Answer(refused=type(error).__name__)
        if response.status_code != 200:
            return Answer(refused=f"{response.status_code} {response.json()['error']}")
        answered = response.json()["outputs"][0]["data"]
        return Answer(answered[0] / number if len(set(answered)) == 1 else -1.0)

    return ask
