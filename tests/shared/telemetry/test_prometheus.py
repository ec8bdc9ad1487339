"""The page says what the metrics say: Prometheus' own library reads it back, and promtool finds no fault."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from fastgshare.shared.histograms import BOUNDS_US, Durations
from fastgshare.shared.telemetry import catalog
from fastgshare.shared.telemetry.metrics import Family, Value, by_label, durations, gathered, rows, single
from fastgshare.shared.telemetry.prometheus import page
from tests.promtool import check_page, needs_promtool

FEW = Durations()
for _duration_us in (50, 100, 101, 5_000, 70_000_000):
    FEW.add(_duration_us)

FAMILIES = [
    by_label(catalog.ARRIVED, {"fn": 3, "other": 0}),
    single(catalog.PAYLOADS, 12.5),
    Family(catalog.STAGE, spreads=(durations(("fn", "queue"), FEW.counts, FEW.sum_us),)),
    Family(catalog.STEPS, spreads=(durations((), FEW.counts, FEW.sum_us),)),
    Family(catalog.BATCH_ROWS, spreads=(rows(("fn",), {1: 2.0, 3: 1.5, 4096: 0.5}),)),
]


def read(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_values_come_back() -> None:
    samples = read(page(FAMILIES))
    assert samples["fastgshare_requests_arrived_total", (("function", "fn"),)] == 3
    assert samples["fastgshare_gateway_payloads_bytes", ()] == 12.5


def test_buckets_are_cumulative_and_end_with_all() -> None:
    samples = read(page(FAMILIES))
    name, labels = "fastgshare_request_stage_duration_seconds", (("function", "fn"), ("stage", "queue"))
    counts = [
        samples[f"{name}_bucket", tuple(sorted([*labels, ("le", edge)]))]
        for edge in (*(repr(bound / 1e6) for bound in BOUNDS_US), "+Inf")
    ]
    assert counts == sorted(counts)
    assert (counts[0], counts[1], counts[-1]) == (2, 3, 5)
    assert samples[f"{name}_count", labels] == 5
    assert samples[f"{name}_sum", labels] == FEW.sum_us / 1e6


def test_batches_are_counted_by_rows() -> None:
    samples = read(page(FAMILIES))
    name = "fastgshare_batch_rows"
    found = {edge: samples[f"{name}_bucket", (("function", "fn"), ("le", edge))] for edge in ("1.0", "4.0", "+Inf")}
    assert found == {"1.0": 2, "4.0": 4, "+Inf": 4}
    assert samples[f"{name}_sum", (("function", "fn"),)] == 2 + 4.5 + 2048


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_any_label_comes_back(label: str) -> None:
    samples = next(iter(text_string_to_metric_families(page([by_label(catalog.HELD, {label: 1})]).decode()))).samples
    assert [sample.labels for sample in samples] == [{"function": label}]


def test_families_without_a_value_are_left_out() -> None:
    assert list(gathered([lambda: [Family(catalog.HELD), single(catalog.PAYLOADS, 1)]])) == [
        Family(catalog.PAYLOADS, (Value((), 1),))
    ]


@needs_promtool
def test_promtool_finds_no_fault() -> None:
    check_page(page(FAMILIES))
