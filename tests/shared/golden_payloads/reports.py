"""Examples of the messages in `messages/reports.py`."""

import msgspec

from fastgshare.shared.messages import FunctionReport, GatewayReport, Histogram, PastTraffic, SlotCount
from tests.shared.golden_payloads.names import AT_US, ECHO, GATEWAY

HISTOGRAM = Histogram((0, 3, 1), 1_750)
FUNCTION_REPORT = FunctionReport(
    arrived=9,
    answered=5,
    met=4,
    missed=3,
    failed=1,
    refused={"overloaded": 2},
    whole=HISTOGRAM,
    stages={"queue": HISTOGRAM},
    batches={4: 1.5},
    outstanding=2,
    held=1,
)

EXAMPLES: dict[str, msgspec.Struct] = {
    "FunctionReport.1": FUNCTION_REPORT,
    "GatewayReport.1": GatewayReport(
        gateway=GATEWAY, incarnation="0a1b2c3d", at_us=AT_US, functions={ECHO: FUNCTION_REPORT}, version=2
    ),
    "Histogram.1": HISTOGRAM,
    "PastTraffic.1": PastTraffic(
        gateway=GATEWAY, functions={ECHO: {"1m": (SlotCount(59, 3, 1), SlotCount(0, 7, 0)), "1h": ()}}, version=2
    ),
    "SlotCount.1": SlotCount(59, 3, 1),
}
