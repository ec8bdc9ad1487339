"""The simulated side of `make bench-scheduler`: the run that it makes of what stands, and where time is seen to go."""

import sys
from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace

from benchmarks.scheduler.real import Scene
from benchmarks.scheduler.sampling import ELSEWHERE, room_of, sampled, shares
from benchmarks.scheduler.sender import Sent
from benchmarks.scheduler.simulated import LEAD_US, at_speed, hops_of, run_of, simulate_level
from benchmarks.scheduler.traces import Level, levels
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, HostId, NodeId
from fastgshare.shared.messages import (
    DeviceStatus,
    FunctionSpec,
    ModelRef,
    NodeStatus,
    Profile,
    ProfilePoint,
    ProfileState,
    Slice,
    SurfacePoint,
)
from fastgshare.shared.tables import Table
from fastgshare.simulator.core.run import Hops

DIGEST = Digest("0" * 64)
KIND = "cpu-x"
PATIENCE_US = 500_000
BATCH_US = {1: 4_000, 2: 8_000}


def point(batch: int) -> SurfacePoint:
    return SurfacePoint(
        sm_partition=100,
        quota=1.0,
        batch=batch,
        throughput_rps=batch * 1e6 / BATCH_US[batch],
        throughput_error=0.0,
        device_us=BATCH_US[batch],
        device_p95_us=BATCH_US[batch],
        measured=True,
    )


def measured_point(batch: int, quota: float, rps: float) -> ProfilePoint:
    return ProfilePoint(
        sm_partition=100,
        quota=quota,
        batch=batch,
        throughput_rps=rps,
        p50_us=0,
        p95_us=0,
        p99_us=0,
        device_us=BATCH_US[batch],
        runs=9,
    )


def scene() -> Scene:
    spec = FunctionSpec(
        name=FunctionName("f"),
        model=ModelRef(digest=DIGEST, size_bytes=1),
        slo_ms=100,
        max_batch=2,
        replicas=1,
        slice=Slice(sm_partition=100, quota_request=1.0, quota_limit=1.0, gpu_mem_mib=1),
    )
    device = DeviceStatus(device=DeviceId("d"), kind=KIND, chunks=1, memory_mib=1000)
    node = NodeStatus(node=NodeId("n"), host=HostId("h"), incarnation="i", at_us=0, devices=(device,))
    table = Profile(
        model_digest=DIGEST, device_kind=KIND, state=ProfileState.COMPLETE, surface=tuple(map(point, BATCH_US))
    )
    return Scene(
        specs=(spec,), table=replace(table, points=()), node=node, nats_url="nats://x", cores=(), pids={}, home=Path()
    )


def ran(batch: int, execute_us: int, latency_us: int = 0) -> Sent:
    return Sent(0, "f", "answered", 0, latency_us, execute_us, batch)


def test_a_request_s_way_is_what_idle_ones_take_beyond_the_device_over_three_legs() -> None:
    idle = [ran(1, 4_000, 4_900), ran(1, 4_000, 4_900), ran(1, 4_000, 90_000)]

    assert hops_of(scene(), idle) == Hops(client_us=300, worker_us=300)


def test_a_batch_costs_what_passed_between_batches_when_they_were_measured() -> None:
    measured = [measured_point(1, 1.0, 240), measured_point(2, 1.0, 240), measured_point(1, 0.5, 5)]
    stood = replace(scene(), table=replace(scene().table, points=tuple(measured)))

    assert stood.around_batch_us == round(((1e6 / 240 - 4_000) + (2e6 / 240 - 8_000)) / 2)
    assert hops_of(stood, [ran(1, 4_000, 5_150)]) == Hops(client_us=300, worker_us=300, batch_us=250)


def test_chunks_are_held_for_what_a_batch_costs_beside_the_device() -> None:
    arrivals = tuple(range(0, 2_000_000, 4_500))
    fast, slow = (
        simulate_level(scene(), Level(1.0, 2.0, 100_000, {"f": arrivals}), Hops(client_us=0, worker_us=0, batch_us=us))[
            "f"
        ]
        for us in (400, 4_500)
    )

    assert fast.p50_us == pytest.approx(4_400, rel=0.03)
    assert slow.p50_us > 2 * fast.p50_us


def test_a_level_is_simulated_with_what_really_stands_and_once_all_is_ready() -> None:
    run = run_of(scene(), Level(0.5, 2.0, PATIENCE_US, {"f": (0, 7)}), Hops())

    assert [(device.device, device.kind, device.chunks) for device in run.devices] == [("d", KIND, 1)]
    assert list(run.functions[0].arrivals) == [LEAD_US, LEAD_US + 7]
    assert (DIGEST, KIND) in run.tables
    assert run.duration_us == LEAD_US + 2_000_000 + PATIENCE_US


def test_a_calm_level_is_answered_in_device_time_and_the_way() -> None:
    (level,) = levels({0.1: PATIENCE_US}, 5.0, 250.0, {"f": 1.0}, seed=1)

    found = simulate_level(scene(), level, Hops(client_us=200, worker_us=100))["f"]

    assert found.arrived == found.in_time == len(level.arrivals_us["f"])
    assert found.p50_us == pytest.approx(4_500, rel=0.03)


def test_callers_more_patient_than_the_objective_show_how_late_answers_are() -> None:
    crowd = {"f": tuple(range(0, 2_000_000, 3_900))}

    patient = simulate_level(scene(), Level(1.03, 2.0, PATIENCE_US, crowd), Hops(client_us=0, worker_us=0))["f"]
    leaving = simulate_level(scene(), Level(1.03, 2.0, 20_000, crowd), Hops(client_us=0, worker_us=0))["f"]

    assert not patient.censored
    assert patient.p99_us > 20_000
    assert (leaving.censored, leaving.p99_us) == (True, 20_000)
    assert leaving.refused + leaving.failed > len(crowd["f"]) // 100


def test_a_table_at_the_speed_that_the_device_had_is_as_slow_and_as_uneven() -> None:
    sent = [ran(1, 6_000)] * 19 + [ran(1, 12_600)] * 3 + [ran(2, 12_000)] * 20 + [ran(0, 0)]

    table = Table.of(at_speed(scene(), sent).table)

    assert table is not None
    answer = table.at(100, 1.0, 1)
    assert answer.device_us == pytest.approx(4_000 * 1.618, rel=0.01)
    assert answer.device_p95_us == pytest.approx(12_600, rel=0.01)


def test_a_table_stays_as_it_is_where_hardly_anything_ran() -> None:
    assert at_speed(scene(), [ran(1, 9_000)] * 3) == scene()


def test_time_is_the_room_s_whose_code_called_shared_code() -> None:
    assert room_of(sys._getframe()) == ELSEWHERE
    with sampled() as found:
        (level,) = levels({0.8: PATIENCE_US}, 10.0, 250.0, {"f": 1.0}, seed=1)
        simulate_level(scene(), level, Hops())
    assert set(found) <= {"gateway", "scheduler", "node_manager", "simulator", ELSEWHERE}
    assert shares(Counter(gateway=3, simulator=1)) == {"gateway": 0.75, "simulator": 0.25}
