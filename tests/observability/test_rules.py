"""The files for Prometheus and Grafana: sound, and about metrics that there are."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from fastgshare.shared.telemetry.catalog import CATALOG, Kind, Metric
from tests.promtool import needs_promtool, promtool

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "compose" / "prometheus"
GRAFANA = ROOT / "compose" / "grafana"
DASHBOARD = GRAFANA / "dashboards" / "fastgshare.json"
RULES = ("rules.yml", "alerts.yml")
_NAME = re.compile(r"\b(?:fastgshare|process)[a-zA-Z0-9_:]+")


def groups(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / name).read_text())["groups"]
    return found


def rules(name: str) -> Iterator[dict[str, Any]]:
    for group in groups(name):
        yield from group["rules"]


def series_of(metric: Metric) -> set[str]:
    name = metric.prometheus
    return {f"{name}_{end}" for end in ("bucket", "sum", "count")} if metric.kind is Kind.HISTOGRAM else {name}


def known() -> set[str]:
    told = {series for metrics in CATALOG.values() for metric in metrics for series in series_of(metric)}
    return told | {rule["record"] for rule in rules("rules.yml")}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def asked() -> Iterator[str]:
    """Every expression in the files."""
    for name in RULES:
        yield from (rule["expr"] for rule in rules(name))
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for variable in dashboard()["templating"]["list"]:
        yield variable["query"]["query"]


def test_every_metric_that_is_asked_for_is_told() -> None:
    names = {name for expression in asked() for name in _NAME.findall(expression)}
    assert names <= known() | {"fastgshare"}
    assert len(names) > 20


def test_every_recorded_rule_is_of_use() -> None:
    names = {name for expression in asked() for name in _NAME.findall(expression)}
    spare = {rule["record"] for rule in rules("rules.yml")} - names
    assert spare <= {"fastgshare:attainment:ratio_rate1h"}


def test_every_alert_tells_whom_it_concerns_what_is_wrong_and_where_to_look() -> None:
    for alert in rules("alerts.yml"):
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert set(alert["annotations"]) == {"summary", "description"}


def test_panels_do_not_overlap_and_know_their_source() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + column, place["y"] + line) for column in range(place["w"]) for line in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    sources = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "fastgshare.yml").read_text())["datasources"]
    uids = {source["uid"] for source in sources}
    assert {panel["datasource"]["uid"] for panel in dashboard()["panels"] if "datasource" in panel} <= uids
    assert len({panel["id"] for panel in dashboard()["panels"]}) == len(dashboard()["panels"])


@needs_promtool
def test_promtool_finds_the_configuration_and_rules_sound() -> None:
    assert "SUCCESS" in promtool("check", "rules", *RULES, directory=PROMETHEUS)
    assert "valid prometheus config" in promtool("check", "config", "prometheus.yml", directory=PROMETHEUS)


@needs_promtool
def test_rules_come_out_and_alerts_fire_when_they_should(tmp_path: Path) -> None:
    for name in RULES:
        shutil.copy(PROMETHEUS / name, tmp_path)
    shutil.copy(Path(__file__).with_name("rules_test.yml"), tmp_path)
    promtool("test", "rules", "rules_test.yml", directory=tmp_path)
