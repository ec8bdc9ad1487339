"""How long a point is measured: slow models get as many requests as quick ones, within bounds."""

import pytest

from fastgshare.profiler.core.keys import TableKey
from fastgshare.profiler.core.measuring import Limits, request_for, timeout_ms
from fastgshare.shared.messages import MeasureRequest, SurfacePoint
from fastgshare.shared.messages.profile import MAX_BUDGET_MS
from tests.profiler.samples import WHOLE, replica_status, setting_asked, times
from tests.profiler.world import World


def expected(rps: float) -> SurfacePoint:
    return SurfacePoint(
        sm_partition=100,
        quota=1.0,
        batch=1,
        throughput_rps=rps,
        throughput_error=0.1,
        device_us=1_000,
        device_p95_us=1_000,
        measured=False,
    )


def asked(rps: float | None, open_ms: int = 800) -> MeasureRequest:
    surface = (expected(rps),) if rps is not None else ()
    return request_for(TableKey("digest.cpu"), WHOLE, replica_status(), 2, Limits(open_ms=open_ms), surface)


@pytest.mark.parametrize(("rps", "open_ms"), [(1_000, 800), (50, 2_500), (1, 6_400), (0, 800), (None, 800)])
def test_the_open_loop_lasts_for_a_hundred_requests_within_bounds(rps: float | None, open_ms: int) -> None:
    assert asked(rps).open_ms == open_ms


def test_an_open_loop_that_is_off_stays_off_and_none_is_longer_than_a_worker_takes() -> None:
    assert asked(1, open_ms=0).open_ms == 0
    assert asked(1, open_ms=20_000).open_ms == MAX_BUDGET_MS


def test_an_answer_is_waited_for_as_much_longer() -> None:
    short, long = asked(1_000), asked(50)
    surface = (expected(50),)
    assert timeout_ms(long, surface, WHOLE) - timeout_ms(short, surface, WHOLE) == 1_700


def test_slow_points_of_a_table_are_given_more_time_and_the_time_left_tells_so(paused: World) -> None:
    """Each point takes all the time it is given."""
    paused.ask()
    given_ms = []
    while paused.pending:
        request = paused.pending[0].request
        given_ms.append(request.budget_ms + request.open_ms)
        paused.now_us += given_ms[-1] * 1_000
        paused.answer(times(request, fixed_us=10_000))
    open_ms = {setting_asked(measure.request): measure.request.open_ms for measure in paused.measured}
    assert open_ms[WHOLE._replace(batch=2)] < 1_500
    assert open_ms[WHOLE._replace(sm_partition=50, quota=0.2, batch=2)] > 3_000
    last_but_one = [report for report in paused.reports if report.done == report.planned - 1][-1]
    assert last_but_one.left_ms == pytest.approx(given_ms[-1], rel=0.1)
