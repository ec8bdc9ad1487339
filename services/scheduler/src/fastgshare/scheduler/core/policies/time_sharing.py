"""One function at a time on a device, as KubeShare shares it (HPDC 2020): all SMs, and quotas alone tell shares apart.

`heuristic` on the slices of the whole width, a whole device being the largest; arrivals with head-room.
"""

from fastgshare.scheduler.core.policies import heuristic
from fastgshare.scheduler.core.policies.paper import QUOTAS
from fastgshare.scheduler.core.policies.port import Answer, Demand, Question


class TimeSharing:
    """Shares time."""

    name = "time_sharing"
    is_fixed = False

    def demand_rps(self, demand: Demand, headroom: float) -> float:
        """As the heuristic has it with head-room."""
        return heuristic.with_headroom_rps(demand, headroom)

    def answer(self, question: Question) -> Answer:
        """Whole devices, and the smallest quota that covers the rest."""
        assert question.menu is not None
        whole = [option for option in question.menu.options if option.share == 1]
        whole = [option for option in whole if option.quota in QUOTAS] or whole
        options = heuristic.within(whole, question.menu)
        return heuristic.scale(question, options, options[-1])
