"""Answers: outputs as asked for, large ones in the caller's slot, too large ones refused with the limit."""

import numpy as np

from fastgshare.node_manager.core.batching import Job
from fastgshare.node_manager.worker.assemble import Request, answer, batch_feed, split_outputs, wanted_tensors
from fastgshare.shared.arrays import to_array
from fastgshare.shared.codec import decode
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.ids import AttemptId, ReplicaId
from fastgshare.shared.messages import InferReply, SlotRef, Tensor, Timing
from fastgshare.shared.slots import SlotPool, host_id
from fastgshare.shared.slotted import out_of_slot

LIMIT = 1 << 20


def request(slot: SlotRef | None = None) -> Request:
    return Request("inbox", AttemptId("a.1"), None, 0, 0, reply_slot=slot)


def reply_to(asked: Request, result: tuple[Tensor, ...] | ErrorBody) -> InferReply:
    payload, _ = answer(asked, ReplicaId("r"), result, Timing(), LIMIT)
    return decode(InferReply, payload)


def test_rows_of_a_batch_go_back_to_their_jobs() -> None:
    jobs = [Job(0, 1, "k", 0), Job(0, 2, "k", 0)]
    feed = batch_feed([{"x": np.zeros((1, 2))}, {"x": np.ones((2, 2))}])
    first, second = split_outputs({"y": feed["x"]}, jobs)
    np.testing.assert_array_equal(first["y"], np.zeros((1, 2)))
    np.testing.assert_array_equal(second["y"], np.ones((2, 2)))


def test_only_the_outputs_asked_for_are_sent_and_unknown_ones_are_named() -> None:
    outputs = {"a": np.zeros(1, np.float32), "b": np.ones(1, np.float32)}
    chosen = wanted_tensors(outputs, ("b",))
    assert isinstance(chosen, tuple)
    assert [tensor.name for tensor in chosen] == ["b"]
    refused = wanted_tensors(outputs, ("z",))
    assert isinstance(refused, ErrorBody)
    assert "['z']" in refused.message
    assert "['a', 'b']" in refused.message


def test_large_outputs_lie_in_the_callers_slot() -> None:
    pool = SlotPool(host_id())
    slot = pool.take(200_000)
    assert slot is not None
    y = np.arange(30_000, dtype=np.float32)
    tensors = wanted_tensors({"y": y}, ())
    assert isinstance(tensors, tuple)
    try:
        asked = request(SlotRef(pool.host, slot.name, 0, slot.size_bytes))
        reply = reply_to(asked, tensors)
        assert reply.outputs[0].slot is not None
        np.testing.assert_array_equal(to_array(out_of_slot(reply, slot).outputs[0]), y)
    finally:
        pool.abandon(slot)


def test_outputs_for_a_slot_that_vanished_go_inline() -> None:
    tensors = wanted_tensors({"y": np.zeros(30_000, np.float32)}, ())
    assert isinstance(tensors, tuple)
    gone = SlotRef(host_id(), "fastgshare-1-000000000000", 0, 1 << 20)
    reply = reply_to(request(gone), tensors)
    assert reply.outputs == tensors


def test_outputs_beyond_a_message_are_refused_with_the_limit() -> None:
    tensors = wanted_tensors({"y": np.zeros(LIMIT, np.float32)}, ())
    assert isinstance(tensors, tuple)
    reply = reply_to(request(), tensors)
    assert reply.error is not None
    assert reply.error.code is ErrorCode.TOO_LARGE
    assert str(LIMIT) in reply.error.message
