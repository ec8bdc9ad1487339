"""Examples of the messages in `messages/load.py`."""

import msgspec

from fastgshare.shared.messages import Demand, FunctionLoad, GatewayLoad
from tests.shared.golden_payloads.names import AT_US, ECHO, GATEWAY

FUNCTION_LOAD = FunctionLoad(
    arrived=100,
    answered=90,
    refused=1,
    failed=2,
    late=3,
    retried=4,
    outstanding=5,
    held=6,
    execute_us=7_000,
    executions=8.5,
    queue_us=9_000,
)

EXAMPLES: dict[str, msgspec.Struct] = {
    "Demand.1": Demand(function=ECHO, gateway=GATEWAY, held=3, version=2),
    "FunctionLoad.1": FUNCTION_LOAD,
    "GatewayLoad.1": GatewayLoad(
        gateway=GATEWAY, incarnation="0a1b2c3d", at_us=AT_US, functions={ECHO: FUNCTION_LOAD}, version=2, pid=4_242
    ),
}
