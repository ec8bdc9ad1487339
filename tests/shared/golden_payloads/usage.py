"""Examples of the messages in `messages/usage.py`."""

import msgspec

from fastgshare.shared.messages import FunctionUsage, UsageRecord
from tests.shared.golden_payloads.names import AT_US, DEVICE, ECHO, NODE

FUNCTION_USAGE = FunctionUsage(
    sm_us=9_000, promised_sm_us=12_000, profiling_sm_us=500, memory_mib_s=640.5, requests=7, batches=3
)

EXAMPLES: dict[str, msgspec.Struct] = {
    "FunctionUsage.1": FUNCTION_USAGE,
    "UsageRecord.1": UsageRecord(
        node=NODE,
        device=DEVICE,
        kind="cpu",
        sms=2,
        incarnation="0a1b2c3d",
        sequence=4,
        from_us=AT_US,
        to_us=AT_US + 10_000_000,
        functions={ECHO: FUNCTION_USAGE},
        version=2,
    ),
}
