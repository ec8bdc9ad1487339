"""The scheduler's core: events in, decisions out, nothing else.

The same events at the same times lead to the same commands, in any process. A scheduler that does not lead takes
in every event and decides nothing; the one that leads counts on its own decisions until told otherwise.
"""

from fastgshare.scheduler.core import fold, lending, understudies
from fastgshare.scheduler.core.asking import is_still
from fastgshare.scheduler.core.commands import Command, Decision, Report
from fastgshare.scheduler.core.events import Event, NodeSeen, Ticked
from fastgshare.scheduler.core.liveness import silenced
from fastgshare.scheduler.core.plan import Plan
from fastgshare.scheduler.core.rollout import plan_function
from fastgshare.scheduler.core.settings import Settings
from fastgshare.scheduler.core.state import State
from fastgshare.shared.ids import FunctionName, NodeId


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
        if self.state.epoch is None:
            self.state.dirty = {}
            return []
        plan = Plan(self.state, self.settings, now_us, self.state.epoch)
        for name in self._turns():
            understudies.settle(plan, name)
            plan_function(plan, name)
            understudies.stand_in(plan, name)
            understudies.stay_restless(plan, name)
        if isinstance(event, Ticked) and not self.state.dirty:
            understudies.consolidate(plan)
        lending.decide(plan, event)
        return plan.commands

    def _turns(self) -> list[FunctionName]:
        """Whom to plan now: so many that a step stays short. The others keep their place in the queue."""
        queue = self.state.dirty
        if len(queue) > self.settings.reviews:
            first = sorted(queue, key=lambda name: self._turn(name)[0])[: self.settings.reviews]
            self.state.dirty = {name: True for name in queue if name not in frozenset(first)}
        else:
            first, self.state.dirty = list(queue), {}
        return sorted(first, key=self._turn)

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
            self.state.node_changed(node.node)
            self.state.touch_placed_on(node.node)
            self.state.touch_blocked()
            if self.state.epoch is not None:
                quiet_ms = (now_us - node.heard_us) // 1000
                reports.append(Report("node_silent", FunctionName(""), f"{node.node} for {quiet_ms} ms"))
        return reports

    def _touch_restless(self, now_us: int) -> None:
        """Have those reviewed whose time has come: everybody once in `tick_us`, spread over it where they are many."""
        restless = [function for function in self.state.functions.values() if not function.settled]
        self.state.parts = max(1, -(-len(restless) // self.settings.reviews))
        slack_us = self.settings.tick_us // (2 * self.state.parts)
        due = [function for function in restless if function.review_us <= now_us + slack_us]
        if self.state.parts > 1:
            due = sorted(due, key=lambda function: function.review_us)[: self.settings.reviews]
        for function in due:
            function.review_us = now_us + self.settings.tick_us
            if not is_still(self.state, function, now_us, self.settings):
                self.state.touch(function.name)

    def _forget(self, now_us: int) -> None:
        """Let go of nodes and gateways that have been away for long and that nothing refers to."""
        before_us = now_us - self.settings.forget_us
        for name, node in list(self.state.nodes.items()):
            if node.silent and node.heard_us < before_us and not self._is_needed(name):
                self.state.forget_node(name)
        for gateway, heard in list(self.state.gateways.items()):
            if heard.heard_us < before_us:
                del self.state.gateways[gateway]
                for function in self.state.functions.values():
                    function.traffic.gateways.pop(gateway, None)

    def _is_needed(self, node: NodeId) -> bool:
        """Whether something is placed on a node."""
        state = self.state
        return any(key in state.placed or key in state.loans for key in state.keys_on.get(node, ()))

    def _wake_at(self, now_us: int) -> int | None:
        state = self.state
        idle = not state.nodes and not state.functions and not state.loans
        wait_us = 0 if state.dirty else self.settings.tick_us // state.parts
        state.wake_at_us = None if idle else max(now_us, state.ticked_us + wait_us)
        return state.wake_at_us
