"""Books: what tokens measured becomes SM time by function, each microsecond once, whoever left meanwhile."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastgshare.node_manager.core.books import DeviceBooks, memory_by_function
from fastgshare.node_manager.core.quota_error import PULSES, QuotaErrors
from fastgshare.node_manager.core.spending import Spending, Spent
from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.core.tokens import TokenBook
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, HostId, NodeId, ReplicaId
from fastgshare.shared.messages import (
    FunctionSpec,
    ModelRef,
    Placement,
    ReplicaState,
    ReplicaStatus,
    ReplicaUse,
    Slice,
)

A, B = ReplicaId("a"), ReplicaId("b")
FN, OTHER = FunctionName("fn"), FunctionName("other")
SECOND = 1_000_000
T0 = 1_000 * SECOND


def placement(replica: ReplicaId, function: FunctionName = FN, loan: str = "") -> Placement:
    spec = FunctionSpec(name=function, model=ModelRef(digest=Digest("0" * 64), size_bytes=1))
    return Placement(
        replica=replica, node=NodeId("n"), device=DeviceId("d"), chunks=(0,), epoch=1, function=spec, loan=loan
    )


def status(replica: str, function: FunctionName = FN, digest: str = "0", **fields: object) -> ReplicaStatus:
    told = ReplicaStatus(
        replica=ReplicaId(replica),
        function=function,
        generation=1,
        node=NodeId("n"),
        device=DeviceId("d"),
        host=HostId("h"),
        incarnation="i",
        state=ReplicaState.READY,
        device_kind="cpu",
        model_digest=Digest(digest * 64),
        memory_mib=10.0,
        weights_mib=6.0,
    )
    return replace(told, **fields)


def ran(book: TokenBook, replica: ReplicaId, used_us: int, now_us: int) -> None:
    assert book.ask(replica, used_us, now_us) == [replica]
    book.end(replica, used_us, now_us + used_us)


def test_a_batch_counts_on_every_chunk_that_it_held() -> None:
    book = TokenBook(4, 100_000)
    book.set_share(A, Share(0b0111, 500, 1000), 0)
    ran(book, A, 1_000, 0)
    assert book.take_use(2_000)[A].chunk_us == 3_000
    assert book.take_use(2_000)[A].chunk_us == 0


def test_what_is_promised_grows_with_time_and_follows_the_share() -> None:
    book = TokenBook(4, 100_000)
    book.set_share(A, Share(0b0011, 500, 1000), 0)
    assert book.take_use(SECOND)[A].promised_us == SECOND
    book.set_share(A, Share(0b1111, 250, 1000), 2 * SECOND)
    assert book.take_use(3 * SECOND)[A].promised_us == 2 * SECOND


def test_who_leaves_still_pays() -> None:
    book = TokenBook(2, 100_000)
    book.set_share(A, Share(0b01, 500, 1000), 0)
    ran(book, A, 1_000, 0)
    book.remove(A, 10_000)
    had = book.take_use(20_000)[A]
    assert (had.chunk_us, had.batches, had.promised_us) == (1_000, 1, 5_000)
    assert book.take_use(30_000) == {}


def test_a_replica_that_comes_back_keeps_what_it_had() -> None:
    book = TokenBook(2, 100_000)
    for start_us in (0, 20_000):
        book.set_share(A, Share(0b01, 500, 1000), start_us)
        ran(book, A, 1_000, start_us)
        if not start_us:
            book.remove(A, 10_000)
    assert book.take_use(30_000)[A].chunk_us == 2_000


def test_spending_is_by_function_and_forgets_who_is_gone() -> None:
    book, spending = TokenBook(2, 100_000), Spending()
    for replica in (A, B):
        spending.loaded(placement(replica))
        book.set_share(replica, Share(0b01 if replica == A else 0b10, 500, 1000), 0)
        ran(book, replica, 1_000, 0)
    book.remove(B, 2_000)
    spent = spending.take(book.take_use(4_000), {A: 3, B: 2}, {A})
    assert spent == {FN: Spent(2_000, 0, 2_000 + 1_000, 2, 5)}
    assert spending.take({}, {B: 1}, {A}) == {FN: Spent(requests=1)}, "an answer may be behind its last batch"
    assert spending.take({}, {B: 1}, {A}) == {}


def test_measuring_on_loan_is_told_apart() -> None:
    book, spending = TokenBook(1, 100_000), Spending()
    spending.loaded(placement(A, loan="wish"))
    book.set_share(A, Share(0b1, 0, 1000), 0)
    ran(book, A, 1_000, 0)
    assert spending.take(book.take_use(4_000), {}, {A}) == {FN: Spent(loan_us=1_000)}


def test_a_replica_that_did_nothing_and_is_promised_nothing_is_no_line() -> None:
    spending = Spending()
    spending.loaded(placement(A))
    assert spending.take({}, {}, {A}) == {}


def test_chunks_become_sms() -> None:
    books = DeviceBooks(T0)
    books.spent({FN: Spent(chunk_us=1_000, loan_us=100, promised_us=2_000, batches=2, requests=5)}, sms=132, chunks=16)
    _, taken = books.take(T0 + SECOND)
    usage = taken[FN]
    assert (usage.sm_us, usage.profiling_sm_us, usage.promised_sm_us) == (8_250, 825, 16_500)
    assert (usage.batches, usage.requests) == (2, 5)


@given(st.lists(st.tuples(st.sampled_from([FN, OTHER]), st.integers(0, 10**9), st.booleans()), max_size=30))
def test_records_add_up_to_the_totals(steps: list[tuple[FunctionName, int, bool]]) -> None:
    books, taken, from_us = DeviceBooks(T0), 0, T0
    for number, (function, chunk_us, is_taken) in enumerate(steps, start=1):
        books.spent({function: Spent(chunk_us=chunk_us)}, sms=2, chunks=2)
        if is_taken:
            began_us, entries = books.take(T0 + number)
            assert began_us == from_us, "records follow each other without a gap"
            from_us = T0 + number
            taken += sum(usage.sm_us for usage in entries.values())
    taken += sum(usage.sm_us for usage in books.take(T0 + SECOND)[1].values())
    assert taken == sum(usage.sm_us for usage in books.totals.values()) == sum(step[1] for step in steps)


def test_memory_counts_for_as_long_as_it_is_held() -> None:
    books = DeviceBooks(T0)
    books.held([status("a")], T0 + 2 * SECOND)
    books.away(T0 + 5 * SECOND)
    books.held([status("a")], T0 + 6 * SECOND)
    books.held([status("a")], T0)
    assert books.totals[FN].memory_mib_s == 16.0 * 3


def test_shared_weights_are_counted_once() -> None:
    told = [
        status("a"),
        status("b", OTHER),
        status("c", digest="1"),
        status("d", state=ReplicaState.LOADING),
        status("e", loan="wish"),
    ]
    assert memory_by_function(told) == {FN: 13.0 + 16.0, OTHER: 13.0}


def pulses(errors: QuotaErrors, held: Slice, *uses: ReplicaUse) -> float:
    for use in uses:
        errors.heard({A: use}, {A: held})
    return round(errors.standings()[A].error, 6)


def test_who_has_work_all_the_time_and_gets_less_is_in_error() -> None:
    held = Slice(sm_partition=50, quota_request=0.4, quota_limit=0.8, gpu_mem_mib=1)
    busy = ReplicaUse(time_share=0.3, backlogged_share=1.0)
    idle = ReplicaUse(time_share=0.3, backlogged_share=0.5)
    over = ReplicaUse(time_share=0.9, backlogged_share=0.5)
    assert pulses(QuotaErrors(), held, *[busy] * (PULSES - 1)) == 0.0, "too little is known"
    assert pulses(QuotaErrors(), held, *[busy] * PULSES) == 0.1
    assert pulses(QuotaErrors(), held, *[idle] * PULSES) == 0.0
    assert pulses(QuotaErrors(), held, *[over] * PULSES) == 0.1


def test_a_changed_slice_is_judged_anew() -> None:
    errors = QuotaErrors()
    held = Slice(sm_partition=50, quota_request=0.4, quota_limit=0.8, gpu_mem_mib=1)
    busy = ReplicaUse(time_share=0.3, backlogged_share=1.0)
    assert pulses(errors, held, *[busy] * PULSES) == 0.1
    assert pulses(errors, replace(held, quota_request=0.6), busy) == 0.0
    errors.heard({}, {})
    assert errors.standings() == {}
