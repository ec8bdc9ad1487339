"""What each policy cost and how well it used what it held: one figure, a bar a policy."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fastgshare.simulator.adapters.report.looks import WIDTH_INCHES, policy_look
from fastgshare.simulator.core.figures import simulated
from fastgshare.simulator.core.outcome import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def cost(outcomes: Mapping[str, Outcome]) -> "Figure":
    """Device-seconds, the share that was not answered in time, and SM-time promised and at work of what was held."""
    from matplotlib.figure import Figure

    figures = [simulated(policy, outcome) for policy, outcome in outcomes.items()]
    figure = Figure(figsize=(WIDTH_INCHES, 0.9 + 0.62 * len(figures) + 0.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3, sharey=True)
    _bars(left, {each.policy: each.device_seconds for each in figures}, "{:,.0f}")
    left.set_xlabel("device-seconds")
    _bars(middle, {each.policy: 100 * each.late_share for each in figures}, "{:.2f} %")
    middle.set_xlabel("late, refused or failed, %")
    for nth, each in enumerate(figures):
        colour, _ = policy_look(each.policy)
        right.barh(nth - 0.2, 100 * each.promised, height=0.36, color=colour, alpha=0.4)
        right.barh(nth + 0.2, 100 * each.busy, height=0.36, color=colour)
        right.text(100 * each.promised, nth - 0.2, f" {100 * each.promised:.0f} % promised", va="center", fontsize=8)
        right.text(100 * each.busy, nth + 0.2, f" {100 * each.busy:.0f} % at work", va="center", fontsize=8)
    right.set_xlim(0, 170)
    right.set_xticks([0, 25, 50, 75, 100])
    right.set_xlabel("SM-time of devices in use, %")
    left.invert_yaxis()
    figure.suptitle("Cost and use by policy")
    return figure


def _bars(panel: "Axes", values: Mapping[str, float], form: str) -> None:
    colours = [policy_look(policy)[0] for policy in values]
    panel.barh(range(len(values)), list(values.values()), height=0.7, color=colours)
    panel.set_yticks(range(len(values)), list(values))
    for nth, value in enumerate(values.values()):
        panel.text(value, nth, f" {form.format(value)}", va="center", fontsize=9)
    panel.set_xlim(0, max(values.values()) * 1.35 or 1)
