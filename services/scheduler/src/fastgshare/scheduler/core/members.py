"""The replicas of one function while its plan is made: each with how it does, and what was decided of it. Pure."""

from collections.abc import Container, Sequence
from dataclasses import dataclass

from fastgshare.scheduler.core.liveness import Health
from fastgshare.scheduler.core.plan import Offer, Plan, Wish
from fastgshare.scheduler.core.records import FunctionState, Placed
from fastgshare.shared.messages import FunctionSpec, Slice


@dataclass(slots=True)
class Member:
    """A placed replica that is to stay, as far as decided, and how it does.

    `outgrown`: it serves, but there is no time left where it is for the quota it should have; another takes over.
    """

    placed: Placed
    health: Health
    outgrown: bool = False

    @property
    def generation(self) -> int:
        """Which generation of its function it runs."""
        return self.placed.placement.function.generation


@dataclass(slots=True)
class Rollout:
    """One function's members, while its plan is made."""

    plan: Plan
    function: FunctionState
    spec: FunctionSpec
    members: list[Member]

    def of(self, generation: int) -> list[Member]:
        """The live members of a generation, oldest first, but for those that others are to take over from."""
        return [
            member
            for member in self.members
            if member.generation == generation and member.health is not Health.FAILED and not member.outgrown
        ]

    def ready(self, generation: int) -> int:
        """How many replicas of a generation can take requests."""
        return sum(member.health is Health.READY for member in self.of(generation))

    def live_generations(self) -> list[int]:
        """Generations with live members, newest first."""
        return sorted({m.generation for m in self.members if m.health is not Health.FAILED}, reverse=True)

    def remove(self, member: Member, reason: str) -> None:
        """Decide that a replica leaves."""
        self.plan.remove(member.placed, reason)
        self.members.remove(member)

    def place(
        self,
        built: FunctionSpec,
        reason: str,
        others: Sequence[Slice] = (),
        kind: str = "",
        elsewhere: Sequence[Offer] = (),
    ) -> bool:
        """Decide on one more replica; False where there is no room."""
        before = set(self.function.placed)
        done = self.plan.place(self.function, built, reason, others, kind, elsewhere)
        self._take_in(before)
        return done

    def place_together(self, built: FunctionSpec, wishes: Sequence[Wish], kind: str) -> bool:
        """Decide on several, if there is room for all of them as things are."""
        before = set(self.function.placed)
        done = self.plan.place_together(self.function, built, wishes, kind)
        self._take_in(before)
        return done

    def place_less(self, built: FunctionSpec, reason: str, slices: Sequence[Slice], kind: str) -> None:
        """Decide on one more replica with the first of these slices that fits, if any does."""
        before = set(self.function.placed)
        self.plan.place_less(self.function, built, slices, reason, kind)
        self._take_in(before)

    def _take_in(self, before: Container[str]) -> None:
        fresh = [p for key, p in self.function.placed.items() if key not in before and not p.is_understudy]
        self.members += [Member(placed, Health.PENDING) for placed in fresh]
