"""The definition's slice for every replica; their number is fixed, or follows demand (`scaling.wanted`)."""

from fastgshare.scheduler.core.policies.port import Answer, Demand, Question


class Fixed:
    """Keeps the number."""

    name = "fixed"
    is_fixed = True

    def demand_rps(self, demand: Demand, headroom: float) -> float:
        """Not asked for: `scaling.wanted` counts."""
        return 0.0

    def answer(self, question: Question) -> Answer:
        """The wanted number of the slice that was given; those that go are the lowest in rank."""
        surplus = max(0, len(question.members) - question.count)
        leaving = [member.key for member in sorted(question.members, key=lambda member: member.rank)[:surplus]]
        return Answer(
            hold={member.key: question.given for member in question.members if member.key not in leaving},
            drop=leaving,
            add=[question.given] * max(0, question.count - len(question.members)),
        )
