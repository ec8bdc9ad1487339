"""Examples of the messages in `messages/reports.py`."""

import msgspec

from fastgshare.shared.messages import FunctionReport, GatewayReport, Histogram
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
}
