"""Whatever happens between them, profilers lose no point and measure none twice that settled."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from fastgshare.profiler.core.plan import Setting
from fastgshare.profiler.core.points import is_earlier, setting_of
from fastgshare.shared.messages import Profile, ProfileState
from tests.profiler.samples import setting_asked, times
from tests.profiler.world import Shared, World, lends, silent, steady, waits

Step = st.sampled_from(["answer", "answer", "answer", "wander", "kill", "recall", "lose lease", "traffic", "wait"])


class Story:
    """Two profilers that share the world. A profiler that is killed has a successor."""

    def __init__(self) -> None:
        self.shared = Shared()
        self.settled: Counter[Setting] = Counter()
        self.worlds = [World(self.shared, worker=silent), World(self.shared, worker=silent)]
        self.worlds[0].deploy()

    def pass_time(self) -> None:
        for world in self.worlds:
            world.run(0.4)
        assert sum(len(world.pending) for world in self.worlds) <= 1, "never two at one table"
        assert len(self.shared.loans) <= 1

    def happen(self, step: str, which: int) -> None:
        world = self.worlds[which]
        if step == "kill":
            world.kill()
            self.worlds[which] = World(self.shared, worker=silent)
        elif step == "lose lease" and world in self.shared.claims.values():
            world.lose_claim()
        elif step == "traffic":
            world.scheduler = waits
            world.run(0.6)
            world.scheduler = lends
        elif step == "recall" and self.shared.loans:
            world.lose(world.lent().replica)
        elif step in ("answer", "wander") and world.pending:
            at = setting_asked(world.pending[0].request)
            self.settled[at] += step == "answer"
            world.answer(times(at, settled=step == "answer"))

    def finish(self) -> Profile:
        for world in self.worlds:
            world.worker = steady
            while world.pending:
                self.settled[world.answer_well()] += 1
        for _ in range(60):
            for world in self.worlds:
                before = len(world.measured)
                world.run(2)
                self.settled.update(setting_asked(measure.request) for measure in world.measured[before:])
        (table,) = self.shared.tables.values()
        return table


@settings(max_examples=40, deadline=None)
@given(story=st.lists(st.tuples(Step, st.integers(0, 1)), max_size=40))
def test_no_point_is_lost_and_none_that_settled_is_measured_twice(story: list[tuple[str, int]]) -> None:
    told = Story()
    told.pass_time()
    for step, which in story:
        told.happen(step, which)
        told.pass_time()
    table = told.finish()
    assert table.state is ProfileState.COMPLETE
    assert max(told.settled.values()) == 1
    seen: set[Setting] = set()
    for version in told.shared.history:
        points = {setting_of(point) for point in version.points}
        assert seen <= points
        assert not any(is_earlier(point) for point in version.points)
        seen = points
    assert all(point.settled for point in table.points if told.settled[setting_of(point)])
    assert set(told.settled) <= seen
    versions = [version.table_version for version in told.shared.history]
    assert versions == sorted(set(versions))
