"""A replica tells how its batches compare with its table: at the chunks it holds, measurements left out."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import anyio
from msgspec.structs import replace

from fastgshare.node_manager.core.drift import LEAST_BATCHES
from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.devices.ports import Ran
from fastgshare.node_manager.worker.replica import Replica
from fastgshare.shared.arrays import Array
from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import Profile, ProfilePoint, ProfileState
from tests.node_manager.worker.runners import WAIT_S, FakeSession, Scene, asked, job, rows, scene
from tests.node_manager.worker.test_replica import Fakes, placement


@dataclass
class SteadySession(FakeSession):
    """Every batch takes the device 3 ms."""

    def run(self, feed: dict[str, Array]) -> Ran:
        return replace_time(super().run(feed), 3_000)


def replace_time(ran: Ran, device_us: int) -> Ran:
    return Ran(ran.outputs, device_us)


def table() -> Profile:
    """A batch of one takes 2 ms on half of the device and 1 ms on all of it."""
    points = [
        ProfilePoint(
            sm_partition=sm,
            quota=1.0,
            batch=1,
            throughput_rps=1e6 / device_us,
            p50_us=device_us,
            p95_us=device_us,
            p99_us=device_us,
            device_us=device_us,
            runs=10,
        )
        for sm, device_us in ((50, 2_000), (100, 1_000))
    ]
    return Profile(model_digest=Digest("d"), device_kind="cpu", state=ProfileState.COMPLETE, points=tuple(points))


def serving() -> Scene:
    here = scene(SteadySession())
    here.session.begin.set()
    here.runner.learn_profile(table())
    return here


def serve(here: Scene, batches: int) -> None:
    for _ in range(batches):
        here.runner.submit(job())
        here.next()


def test_batches_are_compared_with_the_table_at_the_chunks_that_are_held() -> None:
    here = serving()
    serve(here, LEAST_BATCHES - 1)
    assert here.runner.drift == 0.0
    serve(here, 1)
    assert here.runner.drift == 1.5
    here.runner.resize(Share(0b11, 500, 1000), (0, 1)).result(WAIT_S)
    assert here.runner.drift == 0.0
    serve(here, LEAST_BATCHES)
    assert here.runner.drift == 3.0


def test_measurements_never_count() -> None:
    here = serving()
    here.runner.measure(asked(runs=100), rows(1)).result(WAIT_S)
    serve(here, LEAST_BATCHES - 1)
    assert here.runner.drift == 0.0


async def test_a_replica_on_loan_tells_none() -> None:
    async with anyio.create_task_group() as tasks:
        for loan, told in (("", 1.5), ("l-1", 0.0)):
            replica = Replica(replace(placement(), loan=loan), Fakes().parts(), tasks)
            replica._runner = cast("object", SimpleNamespace(drift=1.5))  # type: ignore[assignment]
            assert replica.drift == told
