"""Whatever happens, every request that arrived is accounted for exactly once, and the same run has the same outcome."""

from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import Autoscale, Profile, Slice
from fastgshare.shared.units import US_PER_S
from fastgshare.simulator.core.outcome import Outcome
from fastgshare.simulator.core.run import Failure, FunctionPlan, Run
from fastgshare.simulator.core.world import World, simulate
from tests.simulator.core.scenes import devices, function, poisson, table

LENGTH_US = 12 * US_PER_S
Parts = dict[str, Any]


@st.composite
def runs(draw: st.DrawFn) -> Parts:
    """What a small run is made of: it is made anew for each simulation, as its arrivals are used up."""
    functions = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "rate": st.sampled_from([5.0, 40.0, 150.0]),
                    "batch_us": st.sampled_from([3_000, 20_000, 90_000]),
                    "width": st.sampled_from([12, 50, 100]),
                    "request": st.sampled_from([0.2, 0.5]),
                    "limit": st.sampled_from([0.5, 1.0]),
                    "min": st.sampled_from([0, 1]),
                    "patience_us": st.sampled_from([300_000, 4_000_000]),
                }
            ),
            min_size=1,
            max_size=3,
        )
    )
    moments = st.integers(US_PER_S, LENGTH_US)
    failures = draw(st.lists(st.tuples(moments, st.booleans(), st.one_of(st.none(), moments)), max_size=2))
    return {
        "functions": functions,
        "failures": failures,
        "gateways": draw(st.sampled_from([1, 2])),
        "stretch": draw(st.sampled_from([0, 250])),
        "seed": draw(st.integers(0, 3)),
    }


def made(parts: Parts) -> Run:
    """The run of these parts."""
    plans: list[FunctionPlan] = []
    tables: dict[tuple[Digest, str], Profile] = {}
    for number, part in enumerate(parts["functions"]):
        name = f"f{number}"
        held = Slice(sm_partition=part["width"], quota_request=part["request"], quota_limit=part["limit"])
        spec = function(name, held=held, autoscale=Autoscale(min=part["min"], max=3), slo_ms=200)
        arrivals = poisson(part["rate"], LENGTH_US, seed=number)
        plans.append(FunctionPlan(spec, arrivals, part["patience_us"], load_us=700_000, weights_mib=50, own_mib=100))
        tables.update([table(name, part["batch_us"])])
    fleet = devices(4, per_node=2)
    failures = []
    for at_us, is_node, until_us in parts["failures"]:
        back_us = max(at_us + 1, until_us) if until_us is not None else None
        failures.append(Failure(at_us, fleet[0].node, None if is_node else fleet[1].device, back_us))
    return Run(
        fleet,
        tuple(plans),
        tables,
        LENGTH_US,
        settings=Settings(idle_us=3 * US_PER_S, scale_down_us=2 * US_PER_S),
        failures=tuple(failures),
        gateways=parts["gateways"],
        stretch_permille=parts["stretch"],
        seed=parts["seed"],
    )


@given(runs())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_request_is_accounted_for_exactly_once(parts: Parts) -> None:
    run = made(parts)
    expected = [len(list(plan.arrivals)) for plan in run.functions]
    world = World(made(parts))

    world.play()

    outcome = world.outcome(0.0)
    assert [each.counts.arrived for each in outcome.functions] == expected
    assert outcome.requests == sum(expected)
    for each in outcome.functions:
        for counts in (*each.samples, each.counts):
            ends = (counts.in_time, counts.late, counts.refused, counts.failed)
            assert min(ends) >= 0
            assert sum(ends) == counts.arrived
    assert all(not door.keeper.in_flight for door in world.doors), "nothing is open at the end"
    check_rectangles(outcome)


def test_what_was_under_way_on_a_node_that_is_lost_is_accounted_for_too() -> None:
    part = {"rate": 150.0, "batch_us": 90_000, "width": 50, "request": 0.5, "limit": 1.0, "min": 1}
    lost = (int(6.5 * US_PER_S), True, 11 * US_PER_S)
    parts = {"functions": [{**part, "patience_us": 4_000_000}], "failures": [lost], "gateways": 1, "stretch": 0}
    world = World(made({**parts, "seed": 0}))
    world.play()

    outcome = world.outcome(0.0)
    counts = outcome.functions[0].counts
    assert counts.in_time + counts.late + counts.refused + counts.failed == outcome.requests == counts.arrived
    assert all(not door.keeper.in_flight for door in world.doors)


def check_rectangles(outcome: Outcome) -> None:
    """Within the run, in order, and as much of them as devices say they were occupied."""
    for device in outcome.devices:
        spans = sorted((r.from_us, r.until_us) for r in outcome.rectangles if r.device == device.device)
        covered_us, until_us = 0, 0
        for from_us, to_us in spans:
            assert 0 <= from_us < to_us <= outcome.duration_us
            covered_us += max(to_us - max(from_us, until_us), 0)
            until_us = max(until_us, to_us)
        assert covered_us == device.occupied_us
        assert device.busy_us - 1 <= device.running_us <= device.occupied_us


@given(runs())
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_same_run_has_the_same_outcome(parts: Parts) -> None:
    first, second = simulate(made(parts)), simulate(made(parts))

    assert msgspec.json.encode(first) == msgspec.json.encode(second)


def test_another_seed_scatters_batches_otherwise() -> None:
    def run(seed: int) -> Run:
        spec = function("f")
        key, profile = table("f", 20_000)
        scattered = msgspec.structs.replace(
            profile,
            surface=tuple(msgspec.structs.replace(point, device_p95_us=30_000) for point in profile.surface),
        )
        arrivals = range(US_PER_S, 3 * US_PER_S, 50_000)
        return Run(devices(1), (FunctionPlan(spec, arrivals, US_PER_S),), {key: scattered}, 4 * US_PER_S, seed=seed)

    assert simulate(run(1)) == simulate(run(1))
    assert simulate(run(1)).functions[0].mean_us != simulate(run(2)).functions[0].mean_us
