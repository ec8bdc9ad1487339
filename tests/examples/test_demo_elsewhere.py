"""The demo's load elsewhere: a scenario that the simulator takes, and figures from what it makes of it."""

from pathlib import Path

import msgspec
import pytest
import yaml
from msgspec.structs import replace

from examples.demo.elsewhere import SCENARIO, fleet_of, scenario_of, tables_are_there, write_scenario
from examples.demo.picture import rectangles_of
from examples.demo.plan import Arrival
from examples.demo.rectangles import Held, Moment
from fastgshare.shared.ids import Digest, FunctionName
from fastgshare.shared.messages import Autoscale, FunctionSpec, ModelRef, Profile
from fastgshare.shared.simulated import FunctionFigures, Simulated
from fastgshare.simulator.adapters.reading import read_scenario
from tests.examples.test_demo_report import summary

SPEC = FunctionSpec(
    name=FunctionName("ocr"),
    model=ModelRef(digest=Digest("d"), size_bytes=1),
    slo_ms=400.0,
    replicas=None,
    autoscale=Autoscale(min=0, max=3, policy="objective"),
)
TIMETABLE = [Arrival(500_000, "ocr", 0, 0, False), Arrival(1_250_000, "ocr", 0, 1, True)]


def test_the_simulator_takes_the_scenario_with_this_runs_arrivals_and_tables(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, summary(), {"ocr": SPEC}, TIMETABLE, chunks=2, memory_mib=8_000)
    assert path.name == SCENARIO
    read = read_scenario(path)
    assert read.scenario.policies == ("objective", "exclusive")
    assert read.scenario.functions[0].autoscale == Autoscale(min=1, max=3)
    assert yaml.safe_load(path.read_text()) == scenario_of(summary(), {"ocr": SPEC}, 2, 8_000)
    assert (path.parent / "arrivals.csv").read_text() == "t_s,function\n0.500000,ocr\n1.250000,ocr\n"
    assert msgspec.json.decode((path.parent / "ocr.json").read_bytes(), type=Profile) == summary().profiles["ocr"]


def test_without_every_table_or_on_two_kinds_of_device_there_is_nothing_to_simulate() -> None:
    table = summary().profiles["ocr"]
    assert tables_are_there({"ocr": table}, {"ocr": SPEC})
    assert not tables_are_there({}, {"ocr": SPEC})
    other = replace(table, device_kind="gpu")
    assert not tables_are_there({"ocr": table, "b": other}, {"ocr": SPEC, "b": SPEC})


def test_a_fleet_is_the_gist_of_what_was_simulated() -> None:
    function = FunctionFigures(
        function="ocr",
        slo_ms=400,
        slo_percentile=99,
        requests=2,
        attainment=0.5,
        late=0.5,
        refused=0,
        failed=0,
        p50_ms=1,
        p99_ms=2,
        most_replicas=1,
    )
    told = Simulated(
        policy="exclusive",
        functions=(function,),
        requests=2,
        late_share=0.5,
        most_devices=3,
        device_seconds=180.0,
        promised=1,
        busy=0.1,
        decisions=3,
        wall_s=0.1,
    )
    fleet = fleet_of(told)
    assert (fleet.policy, fleet.devices, fleet.device_seconds) == ("exclusive", 3, 180.0)
    assert fleet.attainment == {"ocr": 0.5}


def test_rectangles_last_from_when_they_were_seen_until_they_were_seen_otherwise() -> None:
    small, large = Held("ocr", "ocr-1", "cpu0", (0,), 0.2), Held("ocr", "ocr-1", "cpu0", (0,), 0.6)
    moments = [Moment(-10, (small,)), Moment(100, (small,)), Moment(200, (large,)), Moment(300, (large,))]
    found = [(each.quota_request, each.from_us, each.until_us) for each in rectangles_of(moments, 1000)]
    assert found == [(0.2, 0, 200), (0.6, 200, 1000)]
    assert rectangles_of([], 1000) == []


@pytest.mark.parametrize("moments", [[Moment(0, ())], [Moment(0, ()), Moment(5, ())]])
def test_a_device_on_which_nothing_was_held_has_no_rectangles(moments: list[Moment]) -> None:
    assert rectangles_of(moments, 1000) == []
