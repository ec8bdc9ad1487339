"""What a policy is asked, and what it may answer: values, so that policies can be compared on the same questions. Pure.

A policy sees one function: its replicas, what they take, what is on the menu, and the demand. It says what each replica
should hold, which go, and which come. It has no memory: what was needed lately is in the question.
"""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from fastgshare.scheduler.core.menu import Menu, Option
from fastgshare.shared.messages import Slice

Key = str


class Demand(NamedTuple):
    """Requests a second: now, in a moment, what bursts may add, and what it takes to work off those that wait."""

    rate_rps: float
    coming_rps: float
    burst_rps: float
    waiting_rps: float


class Member(NamedTuple):
    """A replica: what it holds, as an option of its own device's kind (None: nothing is known of it).

    `rank` tells who goes first where all else is equal, the lowest. `may_change`: its quota can be changed now.
    `most_quota`: what it can hold where it is, in tenths, as far as others leave time there.
    """

    key: Key
    slice: Slice
    option: Option | None
    is_ready: bool
    rank: tuple[int, int]
    may_change: bool
    most_quota: float = 1.0


class Numbers(NamedTuple):
    """What there has to be, between `least` and `most` replicas; both 0: none.

    `need_rps` is what the policy's own `demand_rps` made of the demand, `lasting_rps` the most of it over the time that
    less must have been enough for. `may_move`: replicas may be replaced by better ones. `is_cramped`: the last replica
    that was to come found no room.
    """

    least: int
    most: int
    need_rps: float = 0.0
    lasting_rps: float = 0.0
    may_move: bool = True
    is_cramped: bool = False

    def ask_no_more_than(self, other: "Numbers") -> bool:
        """Whether whoever was enough for the others, and not too many, is so for these."""
        return (
            (self.least, self.most) == (other.least, other.most)
            and self.need_rps <= other.need_rps
            and self.lasting_rps >= other.lasting_rps
            and (self.may_move, self.is_cramped) == (other.may_move, other.is_cramped)
        )


@dataclass(frozen=True, slots=True)
class Question:
    """One function at one moment, oldest members first; `policy`: the name of who is asked.

    `count` replicas of the slice `given` is what the fixed policy wants; for all others there are `numbers` and a menu.
    """

    policy: str
    members: tuple[Member, ...]
    menu: Menu | None
    given: Slice
    headroom: float
    numbers: Numbers
    count: int = 0

    def asks_no_more_than(self, other: "Question") -> bool:
        """Whether it is about the same replicas, and they have to do no more, and were needed no less."""
        return (
            self.menu is other.menu
            and self.policy == other.policy
            and self.numbers.ask_no_more_than(other.numbers)
            and self.members == other.members
        )


@dataclass(slots=True)
class Answer:
    """What each member should hold (what is missing stays as it is), which members go, which slices come.

    `others`: shapes that may stand in for a slice that comes. `is_move`: what comes is to take over from members that
    are enough for now, and can do without. `infeasible`: why the objective cannot be met, if it cannot. `less`: what is
    better than nothing where a slice that comes fits nowhere, the largest first. `limited`: the members that would have
    to hold more than they can where they are, where that leaves too little.
    """

    hold: dict[Key, Slice] = field(default_factory=dict)
    drop: list[Key] = field(default_factory=list)
    add: list[Slice] = field(default_factory=list)
    others: dict[Slice, tuple[Slice, ...]] = field(default_factory=dict)
    is_move: bool = False
    infeasible: str = ""
    less: dict[Slice, tuple[Slice, ...]] = field(default_factory=dict)
    limited: list[Key] = field(default_factory=list)

    @property
    def is_nothing(self) -> bool:
        """Whether all stays as it is."""
        return not (self.hold or self.drop or self.add or self.infeasible or self.limited)


class Policy(Protocol):
    """A way of scaling one function."""

    @property
    def name(self) -> str:
        """What `autoscale.policy` calls it."""
        ...

    @property
    def is_fixed(self) -> bool:
        """Whether all replicas have the definition's slice, and only their number follows demand."""
        ...

    def demand_rps(self, demand: Demand, headroom: float) -> float:
        """What it takes for the demand."""
        ...

    def answer(self, question: Question) -> Answer:
        """What should be."""
        ...
