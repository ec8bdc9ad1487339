"""Random devices full of replicas, for property tests of the tokens: drawn by Hypothesis, never by chance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from fastgshare.node_manager.core.stage import Join, Resize, Rest, Stage, Work, Workload
from fastgshare.node_manager.core.timetable import Share
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.units import PER_MILLE

CHUNKS = 8
WINDOW_US = 100_000
TEN_WINDOWS_US = 10 * WINDOW_US
ESTIMATES_PERMILLE = (333, 800, 1000, 1250, 3000)


@dataclass(frozen=True)
class Member:
    """A replica: what its batches take, in turn; what it believes they take; and when it rests and works again."""

    replica: ReplicaId
    share: Share
    batches_us: tuple[int, ...]
    estimate_us: int
    toggles_us: tuple[int, ...] = ()

    @property
    def mean_us(self) -> int:
        """What its batches take on average."""
        return sum(self.batches_us) // len(self.batches_us)

    @property
    def longest_us(self) -> int:
        """Its longest batch, as it is or as it is believed to be."""
        return max(*self.batches_us, self.estimate_us)

    def workload(self) -> Workload:
        """Its batches, which miss their estimates."""
        return Workload(lambda _mask: self.estimate_us, misses(self.batches_us, self.estimate_us))


def misses(batches_us: Sequence[int], estimate_us: int) -> Callable[[int], int]:
    """By batch number, what it takes in parts per thousand of its estimate."""
    return lambda number: batches_us[number % len(batches_us)] * PER_MILLE // estimate_us


def staged(crew: Sequence[Member], chunks: int = CHUNKS) -> Stage:
    """All join at once, in order; those with `toggles_us` rest and work in turn."""
    stage = Stage(chunks, WINDOW_US)
    for member in crew:
        stage.at(0, Join(member.replica, member.share, member.workload()))
    for member in crew:
        for number, time_us in enumerate(member.toggles_us):
            stage.at(time_us, Work(member.replica) if number % 2 else Rest(member.replica))
    return stage


def greedy(crew: Sequence[Member]) -> list[Member]:
    """The same, each allowed all there is."""
    return [replace(member, share=replace(member.share, limit_permille=PER_MILLE)) for member in crew]


def resized(stage: Stage, crew: Sequence[Member], time_us: int, cut_permille: int) -> None:
    """The first gives part of its request up, and half of that goes to the second if it is on the same chunks."""
    first, *others = crew
    request = max(first.share.request_permille * cut_permille // PER_MILLE, 1)
    stage.at(time_us, Resize(first.replica, Share(first.share.mask, request, max(request, first.share.limit_permille))))
    for second in others[:1]:
        if second.share.mask == first.share.mask:
            more = second.share.request_permille + (first.share.request_permille - request) // 2
            share = Share(second.share.mask, more, max(more, second.share.limit_permille))
            stage.at(time_us + WINDOW_US, Resize(second.replica, share))


@st.composite
def limits(draw: st.DrawFn, request_permille: int) -> int:
    """The request itself, all there is, or somewhere between."""
    between = draw(st.integers(request_permille, PER_MILLE))
    return draw(st.sampled_from((request_permille, between, PER_MILLE)))


@st.composite
def members(draw: st.DrawFn, name: str, mask: int, request_permille: int, longest_us: int, is_unruly: bool) -> Member:
    """One replica whose batches take a quarter of `longest_us` to all of it."""
    batches_us = draw(st.lists(st.integers(longest_us // 4, longest_us), min_size=1, max_size=5))
    mean_us = sum(batches_us) // len(batches_us)
    estimate_us = max(mean_us * draw(st.sampled_from(ESTIMATES_PERMILLE)) // PER_MILLE, 1)
    share = Share(mask, request_permille, draw(limits(request_permille)))
    toggles_us = draw(st.lists(st.integers(1, 25 * WINDOW_US), max_size=8, unique=True)) if is_unruly else []
    return Member(ReplicaId(name), share, tuple(batches_us), estimate_us, tuple(sorted(toggles_us)))


@st.composite
def equal_crews(draw: st.DrawFn, longest_us: int, fill_permille: int = PER_MILLE) -> list[Member]:
    """Replicas on one chunk, promised `fill_permille` in all; some come and go."""
    weights = draw(st.lists(st.integers(1, 20), min_size=1, max_size=7))
    return [
        draw(members(f"r{number}", 1, max(weight * fill_permille // sum(weights), 1), longest_us, draw(st.booleans())))
        for number, weight in enumerate(weights)
    ]


@st.composite
def mixed_crews(draw: st.DrawFn, longest_us: int, fill_permille: int) -> list[Member]:
    """Replicas on neighbouring chunks, no chunk promised more than `fill_permille`; some come and go."""
    promised = [0] * CHUNKS
    crew: list[Member] = []
    for number in range(draw(st.integers(2, 10))):
        first = draw(st.integers(0, CHUNKS - 1))
        chunks = range(first, draw(st.integers(first, CHUNKS - 1)) + 1)
        room = fill_permille - max(promised[chunk] for chunk in chunks)
        request = min(draw(st.integers(50, 500)), room)
        if request < 50:
            continue
        for chunk in chunks:
            promised[chunk] += request
        mask = sum(1 << chunk for chunk in chunks)
        crew.append(draw(members(f"r{number}", mask, request, longest_us, draw(st.booleans()))))
    return crew
