"""What the scheduler believes of each node, replica, function, gateway and table: plain records, and no more.

`state.State` holds them all and keeps them in step; `fold` (facts) and `plan` (decisions) change them.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from fastgshare.scheduler.core.books import Key
from fastgshare.scheduler.core.events import Device
from fastgshare.scheduler.core.forecast import Signal
from fastgshare.scheduler.core.menu import Menu
from fastgshare.scheduler.core.policies.port import Question
from fastgshare.shared import subjects
from fastgshare.shared.ids import DeviceId, FunctionName, GatewayId, NodeId
from fastgshare.shared.messages import FunctionSpec, Placement, ReplicaStatus, Slice
from fastgshare.shared.tables import Table

AWAITS_ROOM, AWAITS_LOAN = "soon", "loan"
"""`FunctionState.blocked` while somebody who is in the way leaves, and while that is a loan."""
NEVER = "never "
"""With this `FunctionState.blocked` begins where no device could ever hold it."""
ANYWHERE = DeviceId("")
"""Stands for every device."""


@dataclass(slots=True)
class DeviceView:
    """A device as last heard of; `bad_since_us` tells since when it is unhealthy or missing."""

    device: Device
    bad_since_us: int | None = None


@dataclass(slots=True)
class Node:
    """A node as last heard of. Without an incarnation it is only named by placements and still expected."""

    node: NodeId
    heard_us: int
    since_us: int
    incarnation: str = ""
    timeout_us: int = 0
    silent: bool = False
    unusable: tuple[DeviceId, ...] = ()
    """Devices that have no chunks, as told to people."""
    devices: dict[DeviceId, DeviceView] = field(default_factory=dict)


@dataclass(slots=True)
class Placed:
    """A desired replica: in the bucket (`confirmed`) or on its way there.

    `leaving`: its removal was commanded. `overtaken`: a leader of an earlier term wrote it after ours began.
    `revived`: it had failed for good, its room was given away, and its node tries it again. `resized_from`: what stands
    in the bucket while changes of it are on their way there. `replaces`: the key of the replica that it is to take over
    from, once ready; until then it is an understudy, and one more than its function asked for. `stands_in`: an
    understudy that leaves if the other, whose device was away, is ready first.
    """

    placement: Placement
    since_us: int
    confirmed: bool
    leaving: bool = False
    overtaken: bool = False
    revived: bool = False
    resized_from: Placement | None = None
    replaces: Key = ""
    stands_in: bool = False

    @property
    def is_understudy(self) -> bool:
        """Whether the replica that it is to take over from still stands."""
        return self.replaces != ""

    @property
    def key(self) -> Key:
        """Its key in the bucket."""
        return subjects.fleet_key(self.placement.node, self.placement.replica)

    @property
    def age(self) -> tuple[int, int, str]:
        """Sorts the replicas of a function and generation by when they were decided, across terms."""
        return (self.placement.epoch, len(self.placement.replica), self.placement.replica)


@dataclass(slots=True)
class Loan:
    """A slice on loan to a profiler: its placement, and when its wish was last heard.

    `asked`: a person waits for it, so traffic does not end it; taken for so until its wish is heard in this term.
    """

    placed: Placed
    wished_us: int
    asked: bool = True


@dataclass(slots=True)
class TakenBack:
    """Why a loan ended, to be told when its wish is repeated."""

    reason: str
    at_us: int


@dataclass(slots=True)
class Reported:
    """An actual replica: its status, and since when it has been in this state."""

    status: ReplicaStatus
    since_us: int


class Tried(NamedTuple):
    """What found no room when the books had this `version`, and where it may find some as they were then.

    `asked`: slices, each with the kind of device (empty: any). `undecided`: devices on which not every arrangement was
    gone through.
    """

    generation: int
    asked: tuple[tuple[str, Slice], ...]
    version: int
    undecided: tuple[DeviceId, ...]


class Promise(NamedTuple):
    """Requests a second by a table, and the relative error that may have."""

    rps: float
    error: float


@dataclass(slots=True)
class KnownTable:
    """A version of a throughput table, and what it was found to promise, by what was asked of it."""

    table: Table
    is_complete: bool
    promises: dict[Hashable, Promise | None] = field(default_factory=dict)
    menus: dict[Hashable, Menu] = field(default_factory=dict)


@dataclass(slots=True)
class Gateway:
    """A gateway as last heard of; another incarnation counts from zero."""

    incarnation: str
    heard_us: int


@dataclass(slots=True)
class GatewayTraffic:
    """One function at one gateway: the last counts, and the arrival rate smoothed from them."""

    at_us: int
    arrived: int = 0
    answered: int = 0
    execute_us: int = 0
    outstanding: int = 0
    held: int = 0
    rate_rps: float = 0.0
    signal: Signal = field(default_factory=Signal)


@dataclass(slots=True)
class Traffic:
    """A function's demand at all gateways, and what its replicas were seen to do per second of execution.

    `busy_us`: when a request was last seen to arrive or to be on its way. `active_us` may be later, in its favour.
    """

    gateways: dict[GatewayId, GatewayTraffic] = field(default_factory=dict)
    active_us: int = 0
    busy_us: int | None = None
    answered: float = 0.0
    execute_us: float = 0.0


@dataclass(slots=True)
class Scale:
    """Where automatic scaling stands: the count, when it last grew, and the recent needs (when, how many).

    `peaks`: the recent needs in requests a second, likewise. `cramped`: replicas whose device had no room for
    what they should hold, until when that is believed. `moved_us`: when replicas were last replaced by better ones.
    `told`: why the objective cannot be met, once reported. `beyond_us`: when demand, as was told, last exceeded what
    `autoscale.max` allows. `misfits`: how often in a row there was no room for better ones. `calm`: the last question,
    if nothing followed from it; `still`: likewise, where all replicas are ready and only facts or another demand can
    change that.
    """

    count: int | None = None
    grown_us: int = 0
    recent: list[tuple[int, int]] = field(default_factory=list)
    peaks: list[tuple[int, float]] = field(default_factory=list)
    cramped: dict[Key, int] = field(default_factory=dict)
    moved_us: int | None = None
    told: str = ""
    beyond_us: int | None = None
    misfits: int = 0
    calm: Question | None = None
    still: Question | None = None


@dataclass(slots=True)
class FunctionState:
    """One function: its definition (None: deleted, or not heard of yet) and what became of its generations.

    `proven` generations have had a ready replica; `failed` ones had one fail for good before that. `blocked` says
    what there was no room for; `told_us`: when that was last told,
    for this `told_wish`.
    `settled`: nothing but a new fact can change the plan; else it is reviewed at the first tick from `review_us` on.
    `moved_us`: when a replica of it was last moved, or others were for its sake. `is_sized`: the slices of its replicas
    were chosen for the kind of device that each is on. `tried`: what was the last to find no room; `sought`: the
    version of the books in which no other was found that could make way.
    """

    name: FunctionName
    spec: FunctionSpec | None = None
    since_us: int = 0
    placed: dict[Key, Placed] = field(default_factory=dict)
    proven: dict[int, bool] = field(default_factory=dict)
    failed: dict[int, bool] = field(default_factory=dict)
    blocked: str = ""
    retries: int = 0
    avoid_until_us: dict[DeviceId, int] = field(default_factory=dict)
    traffic: Traffic = field(default_factory=Traffic)
    scale: Scale = field(default_factory=Scale)
    settled: bool = False
    review_us: int = 0
    moved_us: int | None = None
    is_sized: bool = False
    tried: Tried | None = None
    sought: int | None = None
    told_us: int | None = None
    told_wish: str = ""


@dataclass(slots=True)
class Consolidation:
    """How devices are set free. `transfers`: what is still to go where, of the device that is being emptied.

    `is_under_way`: the last exodus is not through yet. It began at `began_us`; `setbacks` of them ended with a failure
    since the last that went through. `attempts` to find one were made since something changed, the last of them at
    `sought_us` in this `version` of the books.
    """

    transfers: tuple[tuple[Key, DeviceId], ...] = ()
    is_under_way: bool = False
    began_us: int | None = None
    setbacks: int = 0
    attempts: int = 0
    sought_us: int = 0
    version: int = -1

    def fail(self, now_us: int) -> None:
        """Somebody did not come up where it was to go: nobody else goes for now."""
        if self.is_under_way:
            self.setbacks += 1
            self.began_us = now_us
        self.transfers, self.is_under_way = (), False
