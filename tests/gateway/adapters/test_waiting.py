"""Parts that wait for their caller: bounded in number and in bytes, and what is bounded is what waits."""

from fastgshare.gateway.adapters.waiting import WAITING_BYTES, WAITING_PARTS, Parts
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.ids import AttemptId, ReplicaId
from fastgshare.shared.messages import INFER_VERSION, InferReply, Tensor


def part(number: int, size_bytes: int) -> InferReply:
    tensor = Tensor("y", "UINT8", (size_bytes,), memoryview(bytes(size_bytes)))
    return InferReply(INFER_VERSION, (tensor,), None, ReplicaId("r"), AttemptId("a.1"), None, number, True)


async def test_parts_that_wait_are_bounded_in_bytes() -> None:
    parts = Parts()
    half = WAITING_BYTES // 2
    for number in range(2):
        parts.put(part(number, half))
    assert [(await parts.next()).part for _ in range(2)] == [0, 1]
    parts.put(part(2, 3 * half))  # alone it may be as large as it is
    parts.put(part(3, 1))
    parts.put(part(4, 1))
    assert (await parts.next()).part == 2
    refused = await parts.next()
    assert refused.error is not None
    assert refused.error.code is ErrorCode.OVERLOADED


async def test_parts_that_wait_are_bounded_in_number() -> None:
    parts = Parts()
    for number in range(WAITING_PARTS + 2):
        parts.put(part(number, 1))
    taken = [await parts.next() for _ in range(WAITING_PARTS + 1)]
    assert [reply.error is not None for reply in taken] == [False] * WAITING_PARTS + [True]
