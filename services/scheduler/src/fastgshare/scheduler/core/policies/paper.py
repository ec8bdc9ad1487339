"""FaST-GShare's own policy, the baseline: `heuristic` on the published grid of quotas, by throughput per resource.

Slices on which one client in a closed loop would be too late are left out. Where slices have the same RPR the smaller
one is taken; the paper's measurements rank the smallest quota first by more than that (0.27 of the whole rate at 0.2).
Batches are those that the node runs, and spare time may be used, as in the paper. It counts arrivals of now and knows
no head-room.
"""

from fastgshare.scheduler.core.menu import Option
from fastgshare.scheduler.core.policies import heuristic
from fastgshare.scheduler.core.policies.port import Answer, Demand, Question

QUOTAS = (0.2, 0.4, 0.6, 0.8, 1.0)
TIE = 0.01


class Paper:
    """Ranks by RPR."""

    name = "paper"
    is_fixed = False

    def demand_rps(self, demand: Demand, headroom: float) -> float:
        """Arrivals now, and those that wait."""
        return demand.rate_rps + demand.waiting_rps

    def answer(self, question: Question) -> Answer:
        """The efficient slice as often as it fits, and the smallest for the rest."""
        assert question.menu is not None
        every = question.menu.options
        grid = [option for option in every if option.quota in QUOTAS] or list(every)
        options = heuristic.within(grid, question.menu)
        return heuristic.scale(question, options, _efficient(options))


def _efficient(options: list[Option]) -> Option:
    highest = max(option.bare_rpr for option in options)
    able = [option for option in options if option.bare_rpr >= highest * (1 - TIE)]
    return min(able, key=lambda option: (option.cost, option.share))
