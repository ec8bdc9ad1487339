"""The gateways' own counters beside ours: so that a request nobody answered is told from one that got lost.

Gateways publish their counters twice a second; they count since they started.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio
from nats.aio.msg import Msg

from examples.demo.figures import Books
from fastgshare.shared import subjects
from fastgshare.shared.bus import Bus
from fastgshare.shared.codec import decode
from fastgshare.shared.messages import FunctionLoad, GatewayLoad

PATIENCE_S = 5.0


class Ledger:
    """What was sent, and what every gateway last said of it."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self._loads: dict[tuple[str, str], Mapping[str, FunctionLoad]] = {}
        self._heard = anyio.Event()

    def hear(self, load: GatewayLoad) -> None:
        """A gateway's heartbeat; one that started anew counts from nothing beside its former self."""
        self._loads[load.gateway, load.incarnation] = {str(name): counts for name, counts in load.functions.items()}
        self._heard.set()
        self._heard = anyio.Event()

    def books(self) -> dict[str, Books]:
        """Each function's books, all gateways together."""
        return {function: self._of(function) for function in self.sent}

    def is_settled(self) -> bool:
        """Whether everything that was sent arrived and ended."""
        return all(book.arrived >= book.sent and book.open == 0 for book in self.books().values())

    async def settle(self) -> None:
        """Wait until it is, but no longer than makes sense."""
        with anyio.move_on_after(PATIENCE_S):
            while not self.is_settled():
                await self._heard.wait()

    def _of(self, function: str) -> Books:
        loads = [counts[function] for counts in self._loads.values() if function in counts]
        arrived, answered, refused, failed = (
            sum(getattr(load, field) for load in loads) for field in ("arrived", "answered", "refused", "failed")
        )
        return Books(
            sent=self.sent[function],
            arrived=arrived,
            answered=answered,
            refused=refused,
            failed=failed,
            open=arrived - answered - refused - failed,
        )


@asynccontextmanager
async def open_ledger(bus: Bus) -> AsyncIterator[Ledger]:
    """A ledger that hears every gateway."""
    ledger = Ledger()

    async def on_load(msg: Msg) -> None:
        ledger.hear(decode(GatewayLoad, msg.data))

    subscription = await bus.subscribe(subjects.LOAD_ALL, on_load)
    try:
        yield ledger
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(1):
            await subscription.unsubscribe()
