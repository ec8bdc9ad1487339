"""Whether every request that missed its objective has its trace, though its caller said not to sample it.

A function whose objective nobody can keep is called by several clients at once, as fast as it answers, under trace ids
of our own; so it is known which traces there must be. Then they are looked for where people look: in the platform's own
stream, and at the collector.
"""

from collections.abc import Callable, Collection
from contextlib import suppress

import anyio

from benchmarks.overhead.identity import INPUT, row
from benchmarks.telemetry.figures import Kept
from fastgshare.client import Client
from fastgshare.client.traces import last_traces
from fastgshare.shared.arrays import to_tensor
from fastgshare.shared.bus import BusConfig, open_bus
from fastgshare.shared.errors import RequestRefused
from fastgshare.shared.messages import INFER_VERSION, InferRequest
from fastgshare.shared.tracing import new_trace

CLIENTS = 8
FLOATS = 16
PATIENCE_S = 10.0
POLL_S = 0.1
MOST = 20_000
TIMEOUT_S = 10.0
HOPELESS_MS = 0.01
"""An objective that no request can keep."""

TraceIds = Collection[str]


async def look_for_violations(
    client: Client, nats_url: str, function: str, seconds: float, exported: Callable[[], TraceIds]
) -> Kept:
    """Miss objectives for `seconds`; `exported` tells the ids of the traces that the collector has."""
    missed = await _miss(client, function, seconds)
    in_stream: set[str] = set()
    at_collector: set[str] = set()
    async with open_bus(BusConfig(nats_url, "bench-traces")) as bus:
        with anyio.move_on_after(PATIENCE_S):
            while not (missed <= in_stream and missed <= at_collector):
                await anyio.sleep(POLL_S)
                in_stream = {trace.trace_id for trace in await last_traces(bus, MOST, function)}
                at_collector = set(await anyio.to_thread.run_sync(exported))
    return Kept(len(missed), len(missed & in_stream), len(missed & at_collector))


async def _miss(client: Client, function: str, seconds: float) -> set[str]:
    request = InferRequest(INFER_VERSION, (to_tensor(INPUT, row(FLOATS)),))
    missed: set[str] = set()

    async def call() -> None:
        while True:
            trace = new_trace(sampled=False)
            with suppress(RequestRefused):  # whoever is refused has missed it too
                await client.invoke_tensors(function, request, timeout_s=TIMEOUT_S, trace=trace)
            missed.add(trace.trace_id)

    async with anyio.create_task_group() as clients:
        for _ in range(CLIENTS):
            clients.start_soon(call)
        await anyio.sleep(seconds)
        clients.cancel_scope.cancel()
    return missed
