"""Examples of the messages in `messages/traces.py`."""

import msgspec

from fastgshare.shared.ids import RequestId
from fastgshare.shared.messages import RequestTrace, TracedAttempt
from tests.shared.golden_payloads.infer import TIMING
from tests.shared.golden_payloads.names import AT_US, ATTEMPT, DEVICE, ECHO, GATEWAY, NODE, REPLICA, TRACEPARENT

TRACED_ATTEMPT = TracedAttempt(
    attempt=ATTEMPT, replica=REPLICA, node=NODE, device=DEVICE, sent_us=AT_US + 3, lost_us=AT_US + 9
)

EXAMPLES: dict[str, msgspec.Struct] = {
    "RequestTrace.1": RequestTrace(
        trace_id=TRACEPARENT[3:35],
        span_id=TRACEPARENT[36:52],
        parent_id="00f067aa0ba902b7",
        request=RequestId("f00d"),
        function=ECHO,
        gateway=GATEWAY,
        door="http",
        is_sampled=True,
        is_met=False,
        outcome="deadline_exceeded",
        arrived_us=AT_US,
        end_us=AT_US + 90,
        objective_us=AT_US + 50,
        deadline_us=AT_US + 80,
        held_us=AT_US + 1,
        rows=2,
        attempts=(TRACED_ATTEMPT,),
        timing=TIMING,
        version=2,
    ),
    "RequestTrace.2": RequestTrace(
        trace_id=TRACEPARENT[3:35],
        span_id=TRACEPARENT[36:52],
        request=RequestId("f00d"),
        function=ECHO,
        gateway=GATEWAY,
        arrived_us=AT_US,
        end_us=AT_US + 90,
        outcome="answered",
        first_us=AT_US + 40,
    ),
    "TracedAttempt.1": TRACED_ATTEMPT,
}
