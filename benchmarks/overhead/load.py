"""Closed-loop load: each client sends, waits for the answer, checks it, and sends again."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import anyio

from benchmarks.overhead.figures import Sample

NS_PER_US = 1_000

# Sends one request and returns what is wrong with the answer; None when it is right.
Call = Callable[[], Awaitable[str | None]]


async def closed_loop(calls: list[Call], seconds: float) -> Sample:
    """One client a call, all in this process, for `seconds`; requests begun by then are awaited."""
    latencies_us: list[float] = []
    failures: list[str] = []
    begun_ns = time.perf_counter_ns()
    until_ns = begun_ns + round(seconds * 1e9)

    async def client(call: Call) -> None:
        sent_ns = time.perf_counter_ns()
        while sent_ns < until_ns:
            problem = await call()
            done_ns = time.perf_counter_ns()
            if problem is None:
                latencies_us.append((done_ns - sent_ns) / NS_PER_US)
            else:
                failures.append(problem)
                await asyncio.sleep(0)  # a refusal that comes at once must not starve the others
            sent_ns = done_ns

    async with anyio.create_task_group() as clients:
        for call in calls:
            clients.start_soon(client, call)
    return Sample(latencies_us, (time.perf_counter_ns() - begun_ns) / NS_PER_US, failures)
