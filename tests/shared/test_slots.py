"""Shared memory between a caller and workers: a late worker never touches another request, a liar costs no memory."""

import os
import time
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from fastgshare.shared import slots
from fastgshare.shared.errors import ErrorCode, SlotInvalid
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.messages import INFER_VERSION, InferReply, SlotRef, Tensor
from fastgshare.shared.slots import SHARED_MEMORY, Slot, SlotPool, host_id, read_slot, sweep_orphans, write_slot
from fastgshare.shared.slotted import out_of_slot

SIZE = 1 << 20


@pytest.fixture
def pool() -> Iterator[SlotPool]:
    pool = SlotPool(host_id(), limit_bytes=2 * SIZE)
    yield pool
    pool.close()
    assert not mine()


def mine() -> set[str]:
    return {path.name for path in SHARED_MEMORY.glob(f"fastgshare-{os.getpid()}-*")}


def taken(pool: SlotPool, size_bytes: int = SIZE) -> Slot:
    slot = pool.take(size_bytes)
    assert slot is not None
    return slot


def ref_to(slot: Slot, offset_bytes: int = 0, size_bytes: int = 8) -> SlotRef:
    return SlotRef(host_id(), slot.name, offset_bytes, size_bytes)


def test_what_one_side_writes_the_other_reads(pool: SlotPool) -> None:
    slot = taken(pool)
    slot.write(16, b"question")
    assert bytes(read_slot(ref_to(slot, 16))) == b"question"
    write_slot(ref_to(slot, 64, 12), [b"answer", memoryview(b"!")])
    assert slot.read(64, 7) == b"answer!"
    pool.give_back(slot)


def test_a_slot_is_used_again_and_an_attempt_of_its_last_request_finds_it_no_more(pool: SlotPool) -> None:
    slot = taken(pool)
    late = ref_to(slot)
    pool.give_back(slot)
    again = taken(pool)
    assert again is slot
    again.write(0, b"question")
    with pytest.raises(SlotInvalid):
        read_slot(late)
    with pytest.raises(SlotInvalid):
        write_slot(late, [b"too late"])
    assert again.read(0, 8) == b"question"
    pool.give_back(again)


def test_a_slot_that_somebody_still_writes_to_is_not_used_again(
    pool: SlotPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = taken(pool)
    pool.give_back(slot)
    others: list[Slot] = []
    write_all = slots._write_all

    def write_slowly(fd: int, data: slots.Bytes, offset_bytes: int) -> int:
        others.append(taken(pool))  # while the lock is held
        return write_all(fd, data, offset_bytes)

    monkeypatch.setattr(slots, "_write_all", write_slowly)
    write_slot(ref_to(slot), [b"too late"])
    assert others[0] is not slot
    assert others[0].read(0, 8) == bytes(8)
    pool.give_back(others[0])


def test_a_writer_that_opened_the_slot_before_it_was_renamed_leaves_it_alone(
    pool: SlotPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = taken(pool)
    pool.give_back(slot)
    open_slot = slots._open

    def open_and_lose_the_race(ref: SlotRef, flags: int) -> int:
        fd = open_slot(ref, flags)
        assert taken(pool) is slot
        return fd

    monkeypatch.setattr(slots, "_open", open_and_lose_the_race)
    with pytest.raises(SlotInvalid):
        write_slot(ref_to(slot), [b"too late"])
    assert slot.read(0, 8) == bytes(8)
    pool.give_back(slot)


@pytest.mark.parametrize(
    "lie",
    [
        {"size_bytes": SIZE + 1},
        {"offset_bytes": SIZE - 1},
        {"offset_bytes": -1},
        {"size_bytes": -1},
        {"size_bytes": 1 << 50},
        {"name": "fastgshare-1-000000000000"},
        {"name": "../../etc/hostname"},
    ],
)
def test_a_range_that_is_not_there_is_refused_before_memory_is_taken_for_it(
    pool: SlotPool, lie: dict[str, object]
) -> None:
    slot = taken(pool)
    wrong = replace(ref_to(slot), **lie)
    with pytest.raises(SlotInvalid):
        read_slot(wrong)
    with pytest.raises(SlotInvalid):
        write_slot(wrong, [b"x"])
    pool.give_back(slot)


@pytest.mark.parametrize(
    "lie",
    [
        {"offset_bytes": -1},
        {"size_bytes": -1},
        {"size_bytes": 1 << 62},
        {"offset_bytes": SIZE - 7},
        {"name": "fastgshare-1-000000000000"},
    ],
)
def test_an_answer_that_is_not_where_it_says_is_an_error(pool: SlotPool, lie: dict[str, object]) -> None:
    slot = taken(pool)
    slot.write(8, b"question")

    def answer(ref: SlotRef) -> InferReply:
        tensor = Tensor("y", "FP32", (2,), slot=ref)
        return out_of_slot(InferReply(INFER_VERSION, (tensor,), replica=ReplicaId("r")), slot)

    truth = answer(ref_to(slot, 8))
    assert truth.error is None
    assert bytes(truth.outputs[0].data) == b"question"
    lied = answer(replace(ref_to(slot, 8), **lie))
    assert lied.error is not None
    assert (lied.error.code, lied.outputs, lied.replica) == (ErrorCode.INTERNAL, (), "r")
    os.truncate(SHARED_MEMORY / slot.name, 12)
    cut_off = answer(ref_to(slot, 8))
    assert cut_off.error is not None
    assert "cut off" in cut_off.error.message
    pool.abandon(slot)


def test_a_slot_that_cannot_be_made_leaves_nothing_behind(pool: SlotPool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_fd: int, _size_bytes: int) -> None:
        raise OSError("no space left")

    before = os.listdir("/proc/self/fd")
    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", refuse)
        assert pool.take(SIZE) is None
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert not mine()
    pool.give_back(taken(pool))


def test_a_file_of_nothing_costs_no_memory_either(pool: SlotPool) -> None:
    slot = taken(pool)
    os.truncate(SHARED_MEMORY / slot.name, 1 << 50)
    with pytest.raises(SlotInvalid, match="at most"):
        read_slot(ref_to(slot, 0, 1 << 40))
    pool.give_back(slot)


def test_a_pool_is_bounded(pool: SlotPool) -> None:
    first, second = taken(pool), taken(pool)
    assert pool.take(1) is None
    pool.abandon(first)
    pool.give_back(second)
    pool.give_back(taken(pool, 2 * SIZE))  # the free one made room


def test_only_what_nobody_owns_any_more_is_swept(pool: SlotPool) -> None:
    slot = taken(pool)
    orphan = SHARED_MEMORY / f"fastgshare-{os.getpid()}-00000000dead"
    orphan.write_bytes(b"left behind")
    assert sweep_orphans(time.time()) == 0  # young
    assert sweep_orphans(time.time() + slots.ORPHAN_AGE_S + 1) >= 1
    assert mine() == {slot.name}
    pool.give_back(slot)
