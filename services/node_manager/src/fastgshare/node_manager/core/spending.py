"""Who spent what of a device: tokens' measured time, by function, as a worker's pulses tell it. Pure."""

from collections.abc import Collection, Mapping

import msgspec

from fastgshare.node_manager.core.accounts import Use
from fastgshare.shared.ids import FunctionName, ReplicaId
from fastgshare.shared.messages import Placement


class Spent(msgspec.Struct, frozen=True):
    """What a function had of the device since the pulse before, in chunks times microseconds.

    `loan_us` is what was measured on loan, which is no part of `chunk_us`; `requests` counts those that were answered.
    """

    chunk_us: int = 0
    loan_us: int = 0
    promised_us: int = 0
    batches: int = 0
    requests: int = 0

    def plus(self, other: "Spent") -> "Spent":
        """Both."""
        return Spent(
            self.chunk_us + other.chunk_us,
            self.loan_us + other.loan_us,
            self.promised_us + other.promised_us,
            self.batches + other.batches,
            self.requests + other.requests,
        )


NOTHING = Spent()


class Spending:
    """Knows whose each replica is, also for a while after it left."""

    def __init__(self) -> None:
        self._placements: dict[ReplicaId, Placement] = {}

    def loaded(self, placement: Placement) -> None:
        """A replica is there from now on."""
        self._placements[placement.replica] = placement

    def take(
        self, had: Mapping[ReplicaId, Use], answered: Mapping[ReplicaId, int], present: Collection[ReplicaId]
    ) -> dict[FunctionName, Spent]:
        """By function, what replicas had and answered. Who is not `present` and had nothing is forgotten after it."""
        spent: dict[FunctionName, Spent] = {}
        for replica, placement in self._placements.items():
            own = _spent(had.get(replica), answered.get(replica, 0), is_loan=bool(placement.loan))
            if own != NOTHING:
                function = placement.function.name
                spent[function] = spent.get(function, NOTHING).plus(own)
        self._placements = {name: each for name, each in self._placements.items() if name in present or name in had}
        return spent


def _spent(use: Use | None, requests: int, is_loan: bool) -> Spent:
    if use is None:
        return Spent(requests=requests)
    if is_loan:
        return Spent(loan_us=use.chunk_us)
    return Spent(use.chunk_us, 0, use.promised_us, use.batches, requests)
