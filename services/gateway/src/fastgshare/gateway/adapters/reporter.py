"""Tells once a second, for consoles and whoever watches, what became of requests at this gateway."""

import logging
from contextlib import suppress

import anyio
import nats.errors

from fastgshare.gateway.core.gatekeeper import Gatekeeper
from fastgshare.gateway.core.reports import Reports
from fastgshare.shared import subjects
from fastgshare.shared.bus import Bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.codec import encode
from fastgshare.shared.ids import GatewayId
from fastgshare.shared.messages import GatewayReport

INTERVAL_S = 1.0

logger = logging.getLogger(__name__)


class Reporter:
    """Counts every request's end from the start, and publishes the counts."""

    def __init__(self, bus: Bus, gatekeeper: Gatekeeper, gateway: GatewayId, incarnation: str) -> None:
        self._bus = bus
        self._gatekeeper = gatekeeper
        self._gateway = gateway
        self._incarnation = incarnation
        self._reports = Reports()
        self._is_too_large = False
        gatekeeper.watch(self._reports.ended)

    def report(self) -> GatewayReport:
        """The counts as they are now."""
        return GatewayReport(
            gateway=self._gateway,
            incarnation=self._incarnation,
            at_us=unix_us(),
            functions=self._reports.functions(self._gatekeeper),
        )

    async def run(self) -> None:
        """Publish until cancelled; one that is lost is made good by the next, for counts only grow."""
        while True:
            if self._bus.is_connected:
                await self.publish()
            await anyio.sleep(INTERVAL_S)

    async def publish(self) -> None:
        """Say how it stands."""
        report = encode(self.report())
        is_too_large, self._is_too_large = self._is_too_large, len(report) > self._bus.max_payload_bytes
        if self._is_too_large:
            if not is_too_large:
                limit = self._bus.max_payload_bytes
                logger.error("the report of requests is not told: it has %d bytes, one message %d", len(report), limit)
            return
        with suppress(nats.errors.Error):  # the next says the same and more
            await self._bus.publish(subjects.report(self._gateway), report)
