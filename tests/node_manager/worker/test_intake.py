"""What a message must be to be work, and which work is small."""

import pytest
from nats.aio.msg import Msg

from fastgshare.node_manager.worker.assemble import Request
from fastgshare.node_manager.worker.intake import SMALL_BYTES, is_small, read_work
from fastgshare.shared.codec import encode
from fastgshare.shared.errors import PayloadInvalid
from fastgshare.shared.ids import AttemptId, GatewayId, HostId
from fastgshare.shared.messages import SlotRef, Tensor, Work

SLOT = SlotRef(HostId("h"), "slot", 0, 8)


def message(gateway: str | None) -> Msg:
    wanted = GatewayId(gateway) if gateway is not None else None
    work = Work(1, AttemptId("a.1"), wanted, 5, "", memoryview(b""))
    return Msg(None, subject="replica", reply="inbox", data=encode(work))  # type: ignore[arg-type]  # nobody sends it


def request(*tensors: Tensor, reply_slot: SlotRef | None = None) -> Request:
    return Request("inbox", AttemptId("a.1"), None, 0, 0, inputs=tensors, reply_slot=reply_slot)


def inline(size_bytes: int) -> Tensor:
    return Tensor("x", "UINT8", (size_bytes,), memoryview(bytes(size_bytes)))


@pytest.mark.parametrize("gateway", [None, "node-0-gateway-0"])
def test_a_gateway_has_a_name_or_does_not_ask_to_be_told(gateway: str | None) -> None:
    assert read_work(message(gateway), 3)[1].gateway == gateway


@pytest.mark.parametrize("gateway", ["", "a.b", "*", ">", "a b", "a\r\nPUB x 0", "A"])
def test_a_gateway_that_would_not_be_one_token_of_a_subject_is_refused(gateway: str) -> None:
    with pytest.raises(PayloadInvalid, match="is no name"):
        read_work(message(gateway), 3)


def test_small_is_inline_and_few_bytes_in_all() -> None:
    half = SMALL_BYTES // 2
    assert is_small(request(inline(half), inline(half)))
    assert not is_small(request(inline(half), inline(half + 1)))
    assert not is_small(request(Tensor("x", "UINT8", (8,), slot=SLOT)))
    assert not is_small(request(inline(1), reply_slot=SLOT))
