"""The quota benchmark in virtual time: its figures are exact, so its targets can be tested."""

from benchmarks.quota.virtual import eight_error_points, isolation, quota_error_points, spare_time_used
from fastgshare.shared.units import US_PER_S

UNTIL_US = 3 * US_PER_S


def test_quotas_hold_within_two_points_alone_packed_and_in_the_eight_replica_mix_with_head_room() -> None:
    assert quota_error_points([(0.4, 0.4)], UNTIL_US) <= 2
    assert quota_error_points([(0.1, 1.0), (0.4, 0.4), (0.5, 1.0)], UNTIL_US) <= 2
    assert eight_error_points(0.95, UNTIL_US) <= 2


def test_a_replica_does_not_notice_another_on_chunks_beside_it_and_keeps_its_request_on_shared_ones() -> None:
    figures = isolation(UNTIL_US)
    assert 0.97 <= figures["beside_ratio"] <= 1.03
    assert 0.5 / 0.8 - 0.05 <= figures["same_chunks_ratio"] <= 0.5 / 0.8 + 0.05


def test_all_the_time_that_idle_owners_leave_is_used() -> None:
    assert min(spare_time_used(UNTIL_US).values()) >= 0.98
