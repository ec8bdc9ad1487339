"""The metric table keeps to the conventions: names, units, labels, and no name twice."""

import re

import pytest

from fastgshare.shared.telemetry.catalog import CATALOG, SUFFIXES, Kind, Metric

METRICS = [metric for metrics in CATALOG.values() for metric in metrics]
each_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


@each_metric
def test_names_and_units_are_by_convention(metric: Metric) -> None:
    assert re.fullmatch(r"(fastgshare|process)(\.[a-z_]+)+", metric.name)
    assert metric.unit in SUFFIXES or re.fullmatch(r"\{[a-z]+\}|", metric.unit)
    assert all(re.fullmatch(r"[a-z_]+", label) for label in metric.labels)
    assert "le" not in metric.labels
    assert metric.help.endswith(".")


@each_metric
def test_prometheus_names_say_unit_and_kind(metric: Metric) -> None:
    assert re.fullmatch(r"[a-z_]+", metric.prometheus)
    assert metric.prometheus.endswith("_total") == (metric.kind is Kind.COUNTER)
    if metric.unit in SUFFIXES:
        assert SUFFIXES[metric.unit] in metric.prometheus


def test_no_name_stands_for_two() -> None:
    assert len({metric.name for metric in METRICS}) == len({metric.prometheus for metric in METRICS}) == len(METRICS)


@pytest.mark.parametrize(
    ("name", "kind", "unit", "expected"),
    [
        ("fastgshare.sm.time", Kind.COUNTER, "s", "fastgshare_sm_time_seconds_total"),
        ("fastgshare.requests", Kind.COUNTER, "{request}", "fastgshare_requests_total"),
        ("fastgshare.memory.usage", Kind.GAUGE, "By", "fastgshare_memory_usage_bytes"),
        ("fastgshare.quota.error", Kind.GAUGE, "1", "fastgshare_quota_error_ratio"),
        ("fastgshare.request.duration", Kind.HISTOGRAM, "s", "fastgshare_request_duration_seconds"),
    ],
)
def test_prometheus_names_follow_from_opentelemetrys(name: str, kind: Kind, unit: str, expected: str) -> None:
    assert Metric(name, kind, unit, "Some help.").prometheus == expected
