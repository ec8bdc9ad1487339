"""The scheduler's core: events in, decisions out, nothing else.

The same events at the same times lead to the same commands, in any process. A scheduler that does not lead takes
in every event and decides nothing; the one that leads counts on its own decisions until told otherwise.
"""

from fastgshare.scheduler.core import fold, lending
from fastgshare.scheduler.core.asking import is_still
from fastgshare.scheduler.core.commands import Command, Decision, Report
from fastgshare.scheduler.core.events import Event, NodeSeen, Ticked
from fastgshare.scheduler.core.liveness import silenced
from fastgshare.scheduler.core.plan import Plan
from fastgshare.scheduler.core.rollout import plan_function
from fastgshare.scheduler.core.settings import Settings
from fastgshare.scheduler.core.state import State
from fastgshare.shared.ids import FunctionName


class Scheduler:
    """What a scheduler believes, and `step`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state = State()

    def step(self, now_us: int, event: Event) -> Decision:
        """Take in `event` at `now_us` (any clock that does not go back) and decide."""
        reports = self._notice_return(event)
        fold.apply(event, self.state, now_us, self.settings)
        if isinstance(event, Ticked):
            reports += self._notice_silence(now_us)
            self._touch_restless(now_us)
            self._forget(now_us)
        return Decision((*reports, *self._plan(now_us, event)), self._wake_at(now_us))

    def _plan(self, now_us: int, event: Event) -> list[Command]:
        names, self.state.dirty = list(self.state.dirty), {}
        if self.state.epoch is None:
            return []
        plan = Plan(self.state, self.settings, now_us, self.state.epoch)
        for name in sorted(names, key=self._turn):
            plan_function(plan, name)
        lending.decide(plan, event)
        return plan.commands

    def _turn(self, name: FunctionName) -> tuple[bool, str]:
        """Functions that must have replicas come before those that may do without."""
        function = self.state.functions.get(name)
        spec = function.spec if function else None
        return spec is not None and spec.autoscale is not None and spec.autoscale.min == 0, name

    def _notice_return(self, event: Event) -> list[Command]:
        known = self.state.nodes.get(event.node) if isinstance(event, NodeSeen) else None
        if known is None or not known.silent or self.state.epoch is None:
            return []
        return [Report("node_returned", FunctionName(""), known.node)]

    def _notice_silence(self, now_us: int) -> list[Command]:
        reports: list[Command] = []
        for node in self.state.nodes.values():
            if node.silent or not silenced(node, now_us):
                continue
            node.silent = True
            self.state.touch_placed_on(node.node)
            self.state.touch_blocked()
            if self.state.epoch is not None:
                quiet_ms = (now_us - node.heard_us) // 1000
                reports.append(Report("node_silent", FunctionName(""), f"{node.node} for {quiet_ms} ms"))
        return reports

    def _touch_restless(self, now_us: int) -> None:
        for function in self.state.functions.values():
            if not function.settled and not is_still(self.state, function, now_us, self.settings):
                self.state.touch(function.name)

    def _forget(self, now_us: int) -> None:
        """Let go of nodes and gateways that have been away for long and that nothing refers to."""
        before_us = now_us - self.settings.forget_us
        standing = [*self.state.placed.values(), *(loan.placed for loan in self.state.loans.values())]
        needed = {placed.placement.node: True for placed in standing}
        for name, node in list(self.state.nodes.items()):
            if node.silent and node.heard_us < before_us and name not in needed:
                del self.state.nodes[name]
        for gateway, heard in list(self.state.gateways.items()):
            if heard.heard_us < before_us:
                del self.state.gateways[gateway]
                for function in self.state.functions.values():
                    function.traffic.gateways.pop(gateway, None)

    def _wake_at(self, now_us: int) -> int | None:
        state = self.state
        idle = not state.nodes and not state.functions and not state.loans
        state.wake_at_us = None if idle else max(now_us, state.ticked_us + self.settings.tick_us)
        return state.wake_at_us
