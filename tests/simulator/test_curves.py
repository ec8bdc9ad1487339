"""The table of a curve is what a profiler would have measured: complete, monotone, and waiting where time is short."""

from itertools import pairwise

from fastgshare.node_manager.devices.sim.curves import shipped
from fastgshare.shared.ids import Digest
from fastgshare.shared.tables import Table
from fastgshare.simulator.core.curves import latencies_us, table_of

CURVE = shipped()["v100/resnet50"].curve
TABLE = table_of(CURVE, Digest("a" * 64), "sim-v100-16g", 16, 100_000, 4)


def read_table() -> Table:
    table = Table.of(TABLE)
    assert table is not None
    return table


def test_every_point_of_the_axes_is_there() -> None:
    axes = TABLE.axes
    assert axes is not None
    assert axes.batches == (1, 2, 4)
    assert len(TABLE.surface) == len(axes.sm_partitions) * len(axes.quotas) * 3
    assert all(point.latency_p50_us >= CURVE.batch_us(point.sm_partition, 1) for point in TABLE.surface)


def test_device_times_are_the_curves_and_throughputs_follow_from_them() -> None:
    at = read_table().at(100, 0.5, 2)
    assert at.device_us == CURVE.batch_us(100, 2)
    assert round(at.throughput_rps, 3) == round(0.5 * 2 * 1e6 / at.device_us, 3)


def test_a_small_quota_waits_longer() -> None:
    for share in (12, 100):
        tails = [read_table().at(share, quota, 1).latency_p99_us for quota in (0.2, 0.5, 1.0)]
        assert all(more > less for more, less in pairwise(tails))


def test_without_quota_and_load_a_request_takes_what_its_batch_takes() -> None:
    took = latencies_us([10_000], quota=1.0, window_us=100_000, load_rps=0.01)
    assert set(took) == {10_000}


def test_a_batch_longer_than_its_share_is_paid_back() -> None:
    took = latencies_us([150_000], quota=0.5, window_us=100_000, load_rps=3.0)  # at 90 % of what it can do
    assert took[0] >= 150_000
    assert took[len(took) // 2] > 300_000
