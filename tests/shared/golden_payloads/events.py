"""Examples of the messages in `messages/events.py`."""

import msgspec

from fastgshare.shared.messages import Event, ServiceReady
from tests.shared.golden_payloads.names import AT_US

EXAMPLES: dict[str, msgspec.Struct] = {
    "Event.1": Event(
        kind="replica_ready",
        source="node-0",
        at_us=AT_US,
        function="echo",
        text="ready after 2 s",
        fields={"load_ms": 2_000.5, "replica": "echo-g3-0a1b2c", "restarts": 1},
        version=2,
    ),
    "ServiceReady.1": ServiceReady(
        service="gateway",
        instance="node-0-gateway-0",
        pid=4_242,
        endpoints={"http": "http://127.0.0.1:8080"},
        rss_mib=60.5,
        version=2,
    ),
}
