"""The fleet's books: who held what of which device from when to when, and how busy the devices were.

Times come in as the world has them and go out from 0; what lies after the end of the run counts for nothing.
"""

from dataclasses import dataclass, field

from fastgshare.shared.ids import DeviceId, FunctionName, ReplicaId
from fastgshare.shared.messages import Placement
from fastgshare.simulator.core.outcome import Decided, DeviceOutcome, FleetSample, Rectangle
from fastgshare.simulator.core.run import DevicePlan


@dataclass(slots=True)
class DeviceBook:
    """One device: what stands on it (placement and since when), how long its SMs and how long any of them worked."""

    plan: DevicePlan
    standing: dict[ReplicaId, tuple[Placement, int]] = field(default_factory=dict)
    area: float = 0.0
    busy_us: float = 0.0
    running_us: int = 0
    occupied_us: int = 0
    occupied_since_us: int = 0


class FleetBook:
    """From `start_us` to `end_us`."""

    def __init__(self, devices: tuple[DevicePlan, ...], start_us: int, end_us: int) -> None:
        self.start_us = start_us
        self.end_us = end_us
        self.rectangles: list[Rectangle] = []
        self.decisions: list[Decided] = []
        self.samples: list[FleetSample] = []
        self.books: dict[DeviceId, DeviceBook] = {plan.device: DeviceBook(plan) for plan in devices}
        self._sampled_us = start_us
        self._busy_us = 0.0

    def hold(self, placement: Placement, now_us: int) -> None:
        """A replica holds what its placement says from now on, instead of what it held."""
        if placement.replica in self.books[placement.device].standing:
            self.let_go(placement.device, placement.replica, now_us)
        book = self.books[placement.device]
        if not book.standing:
            book.occupied_since_us = now_us
        book.standing[placement.replica] = (placement, now_us)
        book.area += _area(placement, book.plan)

    def let_go(self, device: DeviceId, replica: ReplicaId, now_us: int) -> None:
        """A replica holds nothing any more; fine if it did not."""
        book = self.books[device]
        held = book.standing.pop(replica, None)
        if held is None:
            return
        placement, since_us = held
        book.area -= _area(placement, book.plan)
        until_us = min(now_us, self.end_us)
        if until_us > since_us:
            self.rectangles.append(self._rectangle(placement, since_us, until_us))
        if not book.standing:
            book.area = 0.0
            book.occupied_us += max(until_us - book.occupied_since_us, 0)

    def decided(self, kind: str, function: FunctionName, text: str, now_us: int) -> None:
        """The scheduler decided."""
        self.decisions.append(Decided(now_us - self.start_us, kind, function, text))

    def sample(self, now_us: int) -> None:
        """How the fleet stands now, and how busy what is used of it was since the last sample."""
        used = [book for book in self.books.values() if book.standing]
        busy_us = sum(book.busy_us for book in self.books.values())
        span_us = max(now_us - self._sampled_us, 1) * max(len(used), 1)
        promised = sum(book.area for book in used) / max(len(used), 1)
        busy = (busy_us - self._busy_us) / span_us
        self.samples.append(FleetSample(now_us - self.start_us, len(used), round(promised, 4), round(busy, 4)))
        self._sampled_us, self._busy_us = now_us, busy_us

    def close(self) -> None:
        """The run is over: what stands ends with it."""
        for device, book in self.books.items():
            for replica in list(book.standing):
                self.let_go(device, replica, self.end_us)

    def devices(self) -> list[DeviceOutcome]:
        """What came of each device."""
        return [
            DeviceOutcome(
                device=device,
                node=book.plan.node,
                kind=book.plan.kind,
                occupied_us=book.occupied_us,
                busy_us=round(book.busy_us),
                running_us=book.running_us,
                chunks=book.plan.chunks,
            )
            for device, book in self.books.items()
        ]

    def _rectangle(self, placement: Placement, since_us: int, until_us: int) -> Rectangle:
        held = placement.function.slice
        return Rectangle(
            placement.function.name,
            placement.replica,
            placement.device,
            placement.chunks,
            held.quota_request,
            held.quota_limit,
            since_us - self.start_us,
            until_us - self.start_us,
        )


def _area(placement: Placement, plan: DevicePlan) -> float:
    return len(placement.chunks) / plan.chunks * placement.function.slice.quota_request
