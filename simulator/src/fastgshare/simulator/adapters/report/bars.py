"""What each policy cost and how well it used what it held: one figure, a bar a policy."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fastgshare.simulator.adapters.report.looks import WIDTH_INCHES, largest, policy_look
from fastgshare.simulator.core.figures import simulated
from fastgshare.simulator.core.outcome import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def cost(outcomes: Mapping[str, Outcome]) -> "Figure":
    """Device-seconds, the share that was not answered in time, and SM-time promised and at work of what was held."""
    from matplotlib.figure import Figure

    figures = [simulated(policy, outcome) for policy, outcome in outcomes.items()]
    figure = Figure(figsize=(WIDTH_INCHES, 0.9 + 0.75 * len(figures) + 0.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3, sharey=True)
    _bars(left, {each.policy: each.device_seconds for each in figures}, "{:,.0f}")
    left.set_xlabel("device-seconds")
    _bars(middle, {each.policy: 100 * each.late_share for each in figures}, "{:.2f} %")
    middle.set_xlabel("late, refused or failed, %")
    for nth, each in enumerate(figures):
        colour, _ = policy_look(each.policy)
        shares = {"promised": each.promised, "at work": each.busy, "anything ran": each.running}
        for row, (name, value) in enumerate(shares.items()):
            at = nth + 0.27 * (row - 1)
            right.barh(at, 100 * value, height=0.25, color=colour, alpha=(0.4, 1.0, 0.7)[row])
            right.text(100 * value, at, f" {100 * value:.0f} % {name}", va="center", fontsize=7)
    right.set_xlim(0, 190)
    right.set_xticks([0, 25, 50, 75, 100])
    right.set_xlabel("SM-time, and time, of devices in use, %")
    left.invert_yaxis()
    figure.suptitle("Cost and use by policy")
    return figure


def latency(outcomes: Mapping[str, Outcome]) -> "Figure":
    """A row a function: median (dark) and 99th percentile (light) of its answers under each policy."""
    from matplotlib.figure import Figure

    figures = {policy: simulated(policy, outcome).functions for policy, outcome in outcomes.items()}
    names = [str(each.function) for each in largest(next(iter(outcomes.values())).functions)]
    height = 0.9 + len(names) * (0.55 + 0.3 * len(outcomes))
    figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
    panels = figure.subplots(len(names), 1, squeeze=False)[:, 0]
    for panel, name in zip(panels, names, strict=True):
        rows = {policy: next(each for each in found if each.function == name) for policy, found in figures.items()}
        for nth, (policy, each) in enumerate(rows.items()):
            colour, _ = policy_look(policy)
            p50_ms, p99_ms = each.p50_ms or 0.0, each.p99_ms or 0.0
            panel.barh(nth, p99_ms, height=0.7, color=colour, alpha=0.4)
            panel.barh(nth, p50_ms, height=0.7, color=colour)
            text = f" {p50_ms:.1f} and {p99_ms:.1f} ms" if each.p50_ms is not None else " no answer"
            panel.text(p99_ms, nth, text, va="center", fontsize=8)
        objective_ms = next(iter(rows.values())).slo_ms
        panel.axvline(objective_ms, color="0.35", linewidth=0.9, linestyle=(0, (1, 1)))
        panel.set_yticks(range(len(rows)), list(rows))
        panel.set_xlim(0, 1.3 * max(objective_ms, *(each.p99_ms or 0.0 for each in rows.values())))
        panel.invert_yaxis()
        panel.set_title(f"{name}: objective {objective_ms:g} ms (dotted)", loc="left", fontsize=10)
    panels[-1].set_xlabel("ms")
    figure.suptitle("Latency of answers: median and 99th percentile (refused and failed requests have none)")
    return figure


def _bars(panel: "Axes", values: Mapping[str, float], form: str) -> None:
    colours = [policy_look(policy)[0] for policy in values]
    panel.barh(range(len(values)), list(values.values()), height=0.7, color=colours)
    panel.set_yticks(range(len(values)), list(values))
    for nth, value in enumerate(values.values()):
        panel.text(value, nth, f" {form.format(value)}", va="center", fontsize=9)
    panel.set_xlim(0, max(values.values()) * 1.35 or 1)
