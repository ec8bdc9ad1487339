"""Reports go out once a second, and one that is too large is told of in the log, once."""

from typing import Any

import pytest

from fastgshare.gateway.adapters.reporter import Reporter
from fastgshare.shared.codec import decode
from fastgshare.shared.ids import GatewayId
from fastgshare.shared.messages import GatewayReport
from tests.gateway.core.scene import T0, gate, request, status, ticket


class FakeBus:
    """A bus whose messages may be no larger than a test says."""

    def __init__(self) -> None:
        self.max_payload_bytes = 1 << 20
        self.published: list[bytes] = []

    async def publish(self, _: str, payload: bytes) -> None:
        self.published.append(payload)


async def test_a_report_that_no_message_can_carry_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    bus: Any = FakeBus()
    gatekeeper = gate(status("a"))
    gatekeeper.admit(ticket(1), request(), T0)
    reporter = Reporter(bus, gatekeeper, GatewayId("g"), "life")
    for limit in (10, 10, 1 << 20, 10):
        bus.max_payload_bytes = limit
        await reporter.publish()
    assert len(bus.published) == 1
    assert decode(GatewayReport, bus.published[0]).gateway == "g"
    assert [record.message for record in caplog.records if "one message 10" in record.message] == [
        record.message for record in caplog.records
    ]
    assert len(caplog.records) == 2
