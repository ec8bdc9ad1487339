"""Examples of the messages in `messages/jobs.py`."""

import msgspec

from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.messages import InferReply, InferRequest, Job, JobRecord, JobState, KeptReply, ReplyWish
from tests.shared.golden_payloads.infer import INLINE
from tests.shared.golden_payloads.names import AT_US, ECHO, GATEWAY, JOB, TRACEPARENT

WISH = ReplyWish(request_id="r-1", binary_by_default=True, binary={"y": False})
KEPT_REPLY = KeptReply(name=f"{JOB}.1", size_bytes=9_000_000)

EXAMPLES: dict[str, msgspec.Struct] = {
    "Job.1": Job(job=JOB, function=ECHO, request=InferRequest(1, (INLINE,)), traceparent=TRACEPARENT),
    "JobRecord.1": JobRecord(
        job=JOB,
        function=ECHO,
        state=JobState.FAILED,
        submitted_us=AT_US,
        deadline_us=AT_US + 9,
        started_us=AT_US + 1,
        ended_us=AT_US + 2,
        gateway=GATEWAY,
        runs=2,
        losses=1,
        address="team.a",
        wish=WISH,
        reply=InferReply(1, (INLINE,), ErrorBody(ErrorCode.INVALID, "no")),
    ),
    "JobRecord.2": JobRecord(
        job=JOB,
        function=ECHO,
        state=JobState.DONE,
        submitted_us=AT_US,
        deadline_us=AT_US + 9,
        ended_us=AT_US + 2,
        gateway=GATEWAY,
        runs=1,
        kept=KEPT_REPLY,
    ),
    "KeptReply.1": KEPT_REPLY,
    "ReplyWish.1": WISH,
}
