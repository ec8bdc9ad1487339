"""A device's memory: weights once a model, everybody's own part, and refusals with the numbers."""

from fastgshare.node_manager.core.memory import MemoryLedger, Refusal
from fastgshare.shared.ids import Digest, ReplicaId

A, B, C = (ReplicaId(name) for name in "abc")
MODEL, OTHER = Digest("1" * 64), Digest("2" * 64)


def test_weights_are_promised_once_a_model_and_freed_with_its_last_replica() -> None:
    ledger = MemoryLedger(100)
    assert ledger.reserve(A, MODEL, 40, 50) is None
    assert ledger.reserve(B, MODEL, 40, 50) is None
    assert ledger.promised_mib == 60
    ledger.release(A)
    assert ledger.promised_mib == 50
    ledger.release(B)
    ledger.release(B)
    assert ledger.promised_mib == 0


def test_what_does_not_fit_is_refused_with_the_numbers_and_promises_nothing() -> None:
    ledger = MemoryLedger(100)
    assert ledger.reserve(A, MODEL, 40, 70) is None
    assert ledger.reserve(B, MODEL, 40, 80) == Refusal(
        "it needs 40 MiB and 30 of 100 MiB of the device are not promised to others", passes=True
    )
    assert ledger.reserve(C, OTHER, 20, 10) == Refusal(
        "its model has 20 MiB of weights, its slice's gpu_mem_mib is 10", passes=False
    )
    ledger.release(B)
    assert ledger.promised_mib == 70


def test_a_replica_that_still_holds_memory_gets_no_second_promise() -> None:
    ledger = MemoryLedger(100)
    assert ledger.reserve(A, MODEL, 40, 50) is None
    refusal = ledger.reserve(A, OTHER, 10, 20)
    assert refusal == Refusal("its last session is not closed and holds 10 MiB beside its weights", passes=True)
    assert ledger.promised_mib == 50
    ledger.release(A)
    assert ledger.reserve(A, OTHER, 10, 20) is None
    assert ledger.promised_mib == 20


def test_what_is_larger_than_the_device_is_refused_for_good_and_what_others_hold_for_now() -> None:
    ledger = MemoryLedger(100)
    larger = ledger.reserve(A, MODEL, 40, 101)
    assert larger is not None
    assert not larger.passes
    assert ledger.reserve(A, MODEL, 40, 100) is None
    beside = ledger.reserve(B, OTHER, 1, 2)
    assert beside is not None
    assert beside.passes
