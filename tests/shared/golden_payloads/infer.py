"""Examples of the messages in `messages/infer.py`."""

import msgspec

from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.ids import RequestId
from fastgshare.shared.messages import (
    Cancel,
    Completion,
    DoneNotice,
    InferReply,
    InferRequest,
    SlotRef,
    Tensor,
    Timing,
    Work,
)
from tests.shared.golden_payloads.names import AT_US, ATTEMPT, GATEWAY, HOST, REPLICA, TRACEPARENT

SLOT = SlotRef(HOST, "fastgshare-4242-0123456789ab", 64, 4_096)
INLINE = Tensor("text", "BYTES", (2,), memoryview(b"\x02\x00\x00\x00hi\x00\x00\x00\x00"))
IN_SLOT = Tensor("image", "FP32", (1, 1_024), slot=SLOT)
ERROR = ErrorBody(ErrorCode.OVERLOADED, "the queue is full", 250)
TIMING = Timing(queue_us=11, token_us=12, execute_us=13, batch=4, handler_us=15)
COMPLETION = Completion(ATTEMPT, False, TIMING, AT_US, "deadline_exceeded")

EXAMPLES: dict[str, msgspec.Struct] = {
    "Cancel.1": Cancel(1, ATTEMPT),
    "Completion.1": COMPLETION,
    "DoneNotice.1": DoneNotice(1, REPLICA, "0a1b2c3d", 5, (COMPLETION,)),
    "ErrorBody.1": ERROR,
    "ErrorBody.2": ErrorBody(ErrorCode.UNAVAILABLE, "lost 4 times with its replica", 1000, 4),
    "InferReply.1": InferReply(1, (INLINE, IN_SLOT), ERROR, REPLICA, ATTEMPT, TIMING),
    "InferReply.2": InferReply(1, (INLINE,), None, REPLICA, ATTEMPT, TIMING, 3, True),
    "InferRequest.1": InferRequest(
        1, (INLINE, IN_SLOT), ("label",), SLOT, AT_US, RequestId("0123456789abcdef"), TRACEPARENT
    ),
    "SlotRef.1": SLOT,
    "Tensor.1": INLINE,
    "Tensor.2": IN_SLOT,
    "Timing.1": TIMING,
    "Timing.2": Timing(11, 12, 13, 4, 15, AT_US, AT_US + 60, TRACEPARENT[3:52]),
    "Timing.3": Timing(11, 12, 13, 4, 15, AT_US, AT_US + 60, TRACEPARENT[3:52], 7),
    "Timing.4": Timing(11, 12, 13, 4, 15, AT_US, AT_US + 60, TRACEPARENT[3:52], 7, AT_US + 50),
    "Work.1": Work(1, ATTEMPT, GATEWAY, AT_US, TRACEPARENT, memoryview(b"\x92\x01\x90")),
    "Work.2": Work(1, ATTEMPT, GATEWAY, AT_US, TRACEPARENT, memoryview(b"\x92\x01\x90"), AT_US - 500),
}
