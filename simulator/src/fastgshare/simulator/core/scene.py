"""What everything in a simulation shares: time, chance, books, and what is simulated."""

from collections.abc import Mapping

from fastgshare.shared.ids import Digest, FunctionName
from fastgshare.shared.tables import Table
from fastgshare.shared.units import US_PER_MS, US_PER_S
from fastgshare.simulator.core.agenda import Agenda
from fastgshare.simulator.core.chance import Chance
from fastgshare.simulator.core.fleetbook import FleetBook
from fastgshare.simulator.core.run import FunctionPlan, Run
from fastgshare.simulator.core.tally import Tally

START_US = 3_600 * US_PER_S
"""Where virtual time begins inside: the cores take 0 for long ago, and theirs is a clock that has run for a while."""
NOTICE_INTERVAL_US = 5 * US_PER_MS
"""For how long a worker collects what it tells gateways of answers."""


class Scene:
    """Made from a run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.end_us = START_US + run.duration_us
        samples = -(-run.duration_us // run.sample_us)
        self.agenda = Agenda(START_US, run.hops.worker_us, NOTICE_INTERVAL_US)
        self.fleet = FleetBook(run.devices, START_US, self.end_us)
        self.chance = Chance(run.seed)
        self.tallies = {plan.spec.name: Tally(plan.spec, samples) for plan in run.functions}
        self.functions: Mapping[FunctionName, FunctionPlan] = {plan.spec.name: plan for plan in run.functions}
        self._tables = {key: Table.of(profile) for key, profile in run.tables.items()}

    def table(self, digest: Digest, kind: str) -> Table:
        """How a model does on a kind of device. Raises ValueError where nobody knows."""
        table = self._tables.get((digest, kind))
        if table is None:
            name = self.run.names.get(digest, digest[:12])
            known = ", ".join(sorted(kind for known, kind in self._tables if known == digest)) or "none"
            raise ValueError(f"model {name} has no table for devices of kind {kind}; the kinds it has one for: {known}")
        return table

    def count_ready(self, function: FunctionName, change: int) -> None:
        """So many more replicas of a function are ready from now on."""
        if self.agenda.now_us <= self.end_us:
            self.tallies[function].count_ready(change, self.agenda.now_us - START_US)
