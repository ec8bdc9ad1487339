"""One function's books: every call that arrived is answered in time or late, refused, or has failed, once.

A call that nobody resolved by its deadline has failed, and so has one whose answer comes after it: its caller has gone.
So failures are what is left of those that arrived, and nothing has to watch for deadlines.
"""

from fastgshare.gateway.core.tickets import Ticket
from fastgshare.shared.ids import RequestId
from fastgshare.shared.messages import FunctionSpec
from fastgshare.shared.units import ms_to_us
from fastgshare.simulator.core.histogram import Histogram
from fastgshare.simulator.core.outcome import Counts, FunctionOutcome

PERCENTILES = (50, 90, 95, 99, 99.9, 100)


class Tally:
    """Counts by sample of arrival, latencies of answers, device time; `ready` has the ready replicas at each change."""

    __slots__ = (
        "_cold_since_us",
        "_ready",
        "arrived",
        "batches",
        "busy_us",
        "cold_starts_us",
        "in_time",
        "infeasible",
        "late",
        "latencies",
        "ready",
        "refused",
        "slo_us",
        "spec",
    )

    def __init__(self, spec: FunctionSpec, samples: int) -> None:
        self.spec = spec
        self.slo_us = ms_to_us(spec.slo_ms)
        self.arrived = [0] * samples
        self.in_time = [0] * samples
        self.late = [0] * samples
        self.refused = [0] * samples
        self.latencies = Histogram()
        self.busy_us = 0.0
        self.batches = 0
        self.ready: list[tuple[int, int]] = []
        self.cold_starts_us: list[int] = []
        self.infeasible = ""
        self._ready = 0
        self._cold_since_us: int | None = None

    def answer(self, call: "Call", received_us: int) -> None:
        """A call's caller receives its answer; a second one counts for nothing."""
        if call.is_over:
            return
        call.is_over = True
        if received_us > call.deadline_us:
            return
        latency_us = received_us - call.sent_us
        if latency_us <= self.slo_us:
            self.in_time[call.sample] += 1
        else:
            self.late[call.sample] += 1
        self.latencies.add(latency_us)

    def refuse(self, call: "Call") -> None:
        """The gateway would not have it."""
        if not call.is_over:
            call.is_over = True
            self.refused[call.sample] += 1
            if call.sent_us == self._cold_since_us:
                self._cold_since_us = None  # it waited in vain

    def count_ready(self, change: int, now_us: int) -> None:
        """So many more replicas are ready, `now_us` after the beginning."""
        self._ready += change
        self.ready.append((now_us, self._ready))

    def held(self, since_us: int) -> None:
        """A call waits for a replica, there being none."""
        if self._cold_since_us is None:
            self._cold_since_us = since_us

    def warm(self, now_us: int) -> None:
        """The first replica is there, for whoever waited."""
        if self._cold_since_us is not None:
            self.cold_starts_us.append(now_us - self._cold_since_us)
            self._cold_since_us = None

    def outcome(self) -> FunctionOutcome:
        """All of it, as it stands."""
        rows = zip(self.arrived, self.in_time, self.late, self.refused, strict=True)
        samples = [
            Counts(arrived, in_time, late, refused, arrived - in_time - late - refused)
            for arrived, in_time, late, refused in rows
        ]
        return FunctionOutcome(
            function=self.spec.name,
            slo_ms=self.spec.slo_ms,
            slo_percentile=self.spec.slo_percentile,
            counts=_sum(samples),
            latency_us={f"{percent:g}": self.latencies.percentile_us(percent) for percent in PERCENTILES},
            mean_us=self.latencies.mean_us,
            samples=samples,
            busy_us=round(self.busy_us),
            batches=self.batches,
            replicas=self.ready,
            cold_starts_us=self.cold_starts_us,
            infeasible=self.infeasible,
        )


class Call(Ticket):
    """A request as its gateway has it, with what its caller knows: when it was sent, and whether it had its last word.

    `deadline_us` is the caller's patience too. `door` is its gateway's number, `sample` the sample that it counts in.
    """

    __slots__ = ("door", "is_over", "sample", "sent_us", "tally")

    def __init__(
        self,
        request_id: RequestId,
        tally: Tally,
        door: int,
        sample: int,
        sent_us: int,
        arrived_us: int,
        deadline_us: int,
    ) -> None:
        # written out, as it is made for every request
        self.request_id = request_id
        self.function = tally.spec.name
        self.payload = b""
        self.reply = ""
        self.deadline_us = deadline_us
        self.traceparent = ""
        self.arrived_us = arrived_us
        self.rows = 1
        self.notice = True
        self.host = None
        self.attempts = 0
        self.losses = 0
        self.replica = None
        self.dispatched_us = 0
        self.predicted_us = 0
        self.rows_ahead = 0
        self.latest = None
        self.parent_span = ""
        self.came_by = ""
        self.objective_us = 0
        self.left_us = 0
        self.held_us = 0
        self.lost = ()
        self.first_us = 0
        self.tally = tally
        self.door = door
        self.sample = sample
        self.sent_us = sent_us
        self.is_over = False


def _sum(samples: list[Counts]) -> Counts:
    return Counts(
        sum(each.arrived for each in samples),
        sum(each.in_time for each in samples),
        sum(each.late for each in samples),
        sum(each.refused for each in samples),
        sum(each.failed for each in samples),
    )
