"""How far replicas are from their quotas, over the last heartbeats. Pure.

Only who had work all the time can have got too little; too much anybody can have had. A batch is charged when it
ends, so a single heartbeat says little: the shares of several are averaged.
"""

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.messages import ReplicaUse, Slice

PULSES = 4
BACKLOGGED = 0.98


class Standing(NamedTuple):
    """A replica's share of its SMs' time, and its error: below its request with work at hand, or above its limit."""

    time_share: float
    error: float


class QuotaErrors:
    """The last heartbeats of one device's replicas."""

    def __init__(self) -> None:
        self._uses: dict[ReplicaId, deque[ReplicaUse]] = {}
        self._slices: dict[ReplicaId, Slice] = {}

    def heard(self, use: Mapping[ReplicaId, ReplicaUse], slices: Mapping[ReplicaId, Slice]) -> None:
        """A pulse: replicas that it does not name are gone; one whose slice changed starts anew."""
        for replica in self._uses.keys() - use.keys():
            del self._uses[replica]
        for replica, one in use.items():
            if self._slices.get(replica) != slices.get(replica):
                self._uses.pop(replica, None)
            self._uses.setdefault(replica, deque(maxlen=PULSES)).append(one)
        self._slices = dict(slices)

    def standings(self) -> dict[ReplicaId, Standing]:
        """Of replicas whose slice is known."""
        return {
            replica: _standing(uses, self._slices[replica])
            for replica, uses in self._uses.items()
            if replica in self._slices
        }


def _standing(uses: deque[ReplicaUse], held: Slice) -> Standing:
    time_share = sum(use.time_share for use in uses) / len(uses)
    if len(uses) < PULSES:
        return Standing(time_share, 0.0)
    backlogged = sum(use.backlogged_share for use in uses) / len(uses)
    below = held.quota_request - time_share if backlogged >= BACKLOGGED else 0.0
    return Standing(time_share, max(below, time_share - held.quota_limit, 0.0))
