"""Bills: every record once, by whatever a line stands for, and none that is short."""

from types import SimpleNamespace
from typing import Any

import pytest
from nats.errors import TimeoutError as NatsTimeout

from fastgshare.cli.commands.bill import cells, when
from fastgshare.cli.running import Usage
from fastgshare.client.billing import ATTEMPTS, BATCH, Ledger, usage_since
from fastgshare.shared.buckets import StorageUnavailable
from fastgshare.shared.codec import encode
from fastgshare.shared.ids import DeviceId, FunctionName, NodeId
from fastgshare.shared.messages import FunctionUsage, UsageRecord

HOUR_US = 3_600_000_000
T0 = 1_764_115_200_000_000
"""2025-11-26 00:00 UTC."""
FN, OTHER = FunctionName("fn"), FunctionName("other")


def record(
    sequence: int, to_us: int = T0 + HOUR_US, device: str = "n-cpu0", life: str = "i", **sm_us: int
) -> UsageRecord:
    return UsageRecord(
        node=NodeId("n"),
        device=DeviceId(device),
        kind="cpu",
        sms=2,
        incarnation=life,
        sequence=sequence,
        from_us=to_us - HOUR_US,
        to_us=to_us,
        functions={
            FunctionName(name): FunctionUsage(
                sm_us=used, promised_sm_us=2 * used, memory_mib_s=3_600 * 1_024, requests=3
            )
            for name, used in sm_us.items()
        },
    )


def lines(by: str, *records: UsageRecord, since_us: int = T0 - HOUR_US) -> dict[str, float]:
    ledger = Ledger(by, since_us)
    for each in records:
        ledger.add(each)
    return {line.name: line.used for line in ledger.bill(T0, None).lines}


def test_lines_are_by_function_device_node_or_day() -> None:
    records = (
        record(1, fn=HOUR_US, other=2 * HOUR_US),
        record(1, device="n-cpu1", fn=HOUR_US),
        record(2, to_us=T0 + 25 * HOUR_US, fn=HOUR_US),
    )
    assert lines("function", *records) == {"fn": 3.0, "other": 2.0}
    assert lines("device", *records) == {"n-cpu0": 4.0, "n-cpu1": 1.0}
    assert lines("node", *records) == {"n": 5.0}
    assert lines("day", *records) == {"2025-11-26": 4.0, "2025-11-27": 1.0}


def test_a_record_counts_once_however_often_it_is_there() -> None:
    first, second = record(1, fn=HOUR_US), record(2, fn=HOUR_US)
    assert lines("function", first, first, second, first, second) == {"fn": 2.0}


def test_another_life_of_the_node_begins_to_number_anew() -> None:
    assert lines("function", record(1, fn=HOUR_US), record(1, life="j", fn=HOUR_US)) == {"fn": 2.0}


def test_what_ended_before_is_not_billed() -> None:
    assert lines("function", record(1, to_us=T0, fn=HOUR_US), since_us=T0) == {}


def test_the_price_is_of_what_was_held() -> None:
    ledger = Ledger("function", T0 - HOUR_US)
    ledger.add(record(1, fn=3 * HOUR_US))
    bill = ledger.bill(T0, 2.5)
    assert (bill.total.used, bill.total.promised, bill.total.memory, bill.total.cost) == (3.0, 6.0, 1.0, 7.5)
    assert cells(bill.total) == ("total", "3.0000", "6.0000", "0.0000", "1.0000", "3", "0", "7.5000")


def test_since_is_a_while_ago_or_a_date() -> None:
    assert when("90m", T0) == T0 - 90 * 60 * 1_000_000
    assert when("7d", T0) == T0 - 7 * 24 * HOUR_US
    assert when("2025-11-26T00:00:00+00:00", T0) == T0


@pytest.mark.parametrize("text", ["", "yesterday", "5 h", "-3h", "2025-13-01", "9999999d"])
def test_a_since_that_makes_no_sense_is_refused_with_what_does(text: str) -> None:
    with pytest.raises(Usage, match="expected such as"):
        when(text, T0)


class Reading:
    """A consumer of so many records; a fetch whose number is in `silent` gets none, one in `lost` neither for good."""

    def __init__(self, count: int, silent: range = range(0), lost: range = range(0)) -> None:
        self.sent = self.fetches = 0
        self.count, self.silent, self.lost = count, silent, lost
        self.jetstream = self

    async def pull_subscribe(self, *_: object, **__: object) -> "Reading":
        return self

    async def consumer_info(self) -> Any:
        return SimpleNamespace(num_pending=self.count - self.sent, delivered=SimpleNamespace(consumer_seq=self.sent))

    async def fetch(self, batch: int, _: float) -> list[Any]:
        self.fetches += 1
        if self.fetches in self.silent:
            raise NatsTimeout
        batch = min(batch, self.count - self.sent)
        self.sent += batch
        if self.fetches in self.lost or not batch:
            raise NatsTimeout
        return [SimpleNamespace(data=encode(record(1)))] * batch

    async def unsubscribe(self) -> None:
        """Fine."""


async def count_of(reading: Any) -> int:
    return len([record async for record in usage_since(reading, T0)])


async def test_a_server_that_is_slow_in_the_middle_is_asked_again() -> None:
    assert await count_of(Reading(2 * BATCH + 7, silent=range(2, 2 + ATTEMPTS - 1))) == 2 * BATCH + 7


async def test_what_the_stream_dropped_meanwhile_is_not_waited_for() -> None:
    reading = Reading(2 * BATCH)

    async def consumer_info() -> Any:
        info = SimpleNamespace(num_pending=reading.count - reading.sent, delivered=None)
        reading.count = BATCH
        return info

    reading.consumer_info = consumer_info  # type: ignore[method-assign]
    assert await count_of(reading) == BATCH


@pytest.mark.parametrize(
    "reading", [Reading(2 * BATCH, silent=range(2, 9)), Reading(2 * BATCH, lost=range(2, 3))], ids=["silent", "lost"]
)
async def test_half_a_bill_is_none(reading: Reading) -> None:
    with pytest.raises(StorageUnavailable):
        await count_of(reading)
