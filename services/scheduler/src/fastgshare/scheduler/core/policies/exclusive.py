"""A whole device for every replica, as without sharing; their number follows arrivals with head-room."""

from fastgshare.scheduler.core.policies import heuristic
from fastgshare.scheduler.core.policies.port import Answer, Demand, Question


class Exclusive:
    """Shares nothing."""

    name = "exclusive"
    is_fixed = False

    def demand_rps(self, demand: Demand, headroom: float) -> float:
        """As the heuristic has it with head-room."""
        return heuristic.with_headroom_rps(demand, headroom)

    def answer(self, question: Question) -> Answer:
        """As many devices as it takes."""
        assert question.menu is not None
        whole = question.menu.options[-1]
        return heuristic.scale(question, [whole], whole)
