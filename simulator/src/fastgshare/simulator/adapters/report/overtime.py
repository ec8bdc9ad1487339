"""What happened over time: devices in use, load, replicas, attainment, and requests that were not answered in time."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fastgshare.simulator.adapters.report.looks import (
    MAX_POINTS,
    WIDTH_INCHES,
    Clock,
    clock_for,
    function_colours,
    largest,
    legend_names,
    line_width,
    policy_look,
)
from fastgshare.simulator.core.figures import attained, devices_used, missed_so_far, rates
from fastgshare.simulator.core.outcome import FunctionOutcome, Outcome
from fastgshare.simulator.core.traffic import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW_INCHES = 1.7
AROUND_S = 5.0
"""Attainment is shown over this much time around each moment, or a hundredth of the run where that is more."""


def devices(outcomes: Mapping[str, Outcome]) -> "Figure":
    """Above, the load by function; below, how many devices held anything under each policy."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    first = next(iter(outcomes.values()))
    clock = clock_for(first.duration_us)
    figure = Figure(figsize=(WIDTH_INCHES, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    _stack_load(above, first, clock)
    for nth, (policy, outcome) in enumerate(outcomes.items()):
        times_s, counts = devices_used(outcome)
        colour, style = policy_look(policy)
        ends = [*times_s, outcome.duration_us / 1e6]
        below.step(
            np.array(ends) / clock.seconds,
            [*counts, counts[-1]],
            where="post",
            color=colour,
            linestyle=style,
            linewidth=line_width(nth, len(outcomes)),
            label=policy,
        )
    below.set_ylim(bottom=0)
    below.margins(y=0.15)
    below.yaxis.set_major_locator(MaxNLocator(integer=True))
    below.set_ylabel("devices in use")
    below.legend(fontsize=9, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _finish(below, clock, first.duration_us)
    above.grid(visible=True, alpha=0.25)
    figure.suptitle("Load, and devices in use")
    return figure


def use(outcomes: Mapping[str, Outcome]) -> "Figure":
    """A row a policy: of the SM-time of devices in use, what was promised (line) and what was at work (area)."""
    from matplotlib.figure import Figure

    first = next(iter(outcomes.values()))
    clock = clock_for(first.duration_us)
    figure = Figure(figsize=(WIDTH_INCHES, 1.2 + ROW_INCHES * len(outcomes)), layout="constrained")
    panels = figure.subplots(len(outcomes), 1, sharex=True, squeeze=False)[:, 0]
    for panel, (policy, outcome) in zip(panels, outcomes.items(), strict=True):
        colour, _ = policy_look(policy)
        samples = [sample for sample in outcome.samples if sample.at_us > 0]
        busy = _thinned(np.array([sample.busy for sample in samples], dtype=float), outcome.sample_us, clock)
        promised = _thinned(np.array([sample.promised for sample in samples], dtype=float), outcome.sample_us, clock)
        panel.fill_between(busy[0], 100 * busy[1], step="mid", color=colour, alpha=0.45, linewidth=0, label="at work")
        panel.step(promised[0], 100 * promised[1], where="mid", color=colour, linewidth=1.4, label="promised")
        panel.set_ylim(0, 105)
        panel.set_ylabel("%")
        panel.set_title(policy, loc="left", fontsize=10)
        panel.grid(visible=True, alpha=0.25)
    panels[0].legend(fontsize=9, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _finish(panels[-1], clock, first.duration_us)
    figure.suptitle("SM-time of devices in use: promised and at work")
    return figure


def attainment(outcomes: Mapping[str, Outcome]) -> "Figure":
    """A row a function: the share answered in time; last, how the share that was not grew over the run."""
    from matplotlib.figure import Figure

    first = next(iter(outcomes.values()))
    clock = clock_for(first.duration_us)
    names = [function.function for function in largest(first.functions)]
    figure = Figure(figsize=(WIDTH_INCHES, 1.2 + ROW_INCHES * (len(names) + 1)), layout="constrained")
    panels = figure.subplots(len(names) + 1, 1, sharex=True)
    for panel, name in zip(panels, names, strict=False):
        for nth, (policy, outcome) in enumerate(outcomes.items()):
            function = next(each for each in outcome.functions if each.function == name)
            _attainment_line(panel, policy, function, outcome, clock, line_width(nth, len(outcomes)))
        function = next(each for each in first.functions if each.function == name)
        panel.axhline(function.slo_percentile, color="0.35", linewidth=0.9, linestyle=(0, (1, 1)))
        _show_shares(panel)
        panel.set_ylabel("in time, %")
        objective = f"p{function.slo_percentile:g} within {function.slo_ms:g} ms (dotted)"
        panel.set_title(f"{name}: {objective}", loc="left", fontsize=10)
        panel.grid(visible=True, alpha=0.25)
    _late_panel(panels[-1], outcomes, clock)
    panels[0].legend(fontsize=9, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _finish(panels[-1], clock, first.duration_us)
    width_s = _around_samples(first) * first.sample_us / 1e6
    figure.suptitle(f"Requests answered within their objective, over {width_s:g} s around each moment")
    return figure


def replicas(policy: str, outcome: Outcome) -> "Figure":
    """A row a function: its load, and how many replicas were ready."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    clock = clock_for(outcome.duration_us)
    shown = largest(outcome.functions)
    colours = function_colours(outcome.functions)
    figure = Figure(figsize=(WIDTH_INCHES, 1.2 + ROW_INCHES * len(shown)), layout="constrained")
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for panel, function in zip(panels, shown, strict=True):
        times, values = _thinned(rates(function, outcome.sample_us), outcome.sample_us, clock)
        colour = colours[str(function.function)]
        panel.fill_between(times, values, step="mid", color=colour, alpha=0.35, linewidth=0)
        panel.set_ylim(bottom=0)
        panel.set_ylabel("requests/s")
        beside = panel.twinx()
        changes = [(0, 0), *function.replicas]
        changes.append((outcome.duration_us, changes[-1][1]))
        beside.step(
            [at_us / 1e6 / clock.seconds for at_us, _ in changes],
            [count for _, count in changes],
            where="post",
            color="black",
            linewidth=1.4,
        )
        beside.set_ylim(0, max(max(count for _, count in changes) * 1.15, 1.15))
        beside.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        beside.set_ylabel("replicas")
        panel.set_title(str(function.function), loc="left", fontsize=10)
        panel.grid(visible=True, alpha=0.25)
    _finish(panels[-1], clock, outcome.duration_us)
    figure.suptitle(f"{policy}: load (area) and ready replicas (line)")
    return figure


def _stack_load(panel: "Axes", outcome: Outcome, clock: Clock) -> None:
    """Stacked by function, those without a colour of their own as one."""
    colours = function_colours(outcome.functions)
    sums: dict[str, Floats] = {}
    for function in outcome.functions:
        colour = colours[str(function.function)]
        mine = rates(function, outcome.sample_us)
        sums[colour] = sums[colour] + mine if colour in sums else mine
    thinned = {colour: _thinned(values, outcome.sample_us, clock) for colour, values in sums.items()}
    times = next(iter(thinned.values()))[0]
    names = legend_names(colours)
    panel.stackplot(
        times,
        [values for _, values in thinned.values()],
        colors=list(thinned),
        labels=[names[colour] for colour in thinned],
        linewidth=0,
    )
    panel.set_ylim(bottom=0)
    panel.set_ylabel("requests a second")
    panel.legend(fontsize=9, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), reverse=True)


def _attainment_line(
    panel: "Axes", policy: str, function: FunctionOutcome, outcome: Outcome, clock: Clock, width: float
) -> None:
    shares = attained(function.samples, _around_samples(outcome))
    times, values = _thinned(shares, outcome.sample_us, clock)
    colour, style = policy_look(policy)
    panel.plot(times, 100 * values, color=colour, linestyle=style, linewidth=width, label=policy)


def _show_shares(panel: "Axes") -> None:
    """From a full ten below the lowest share on, so that what matters, near 100 %, is not lost."""
    lows = [np.nanmin([100.0, *np.asarray(line.get_ydata(), dtype=float)]) for line in panel.get_lines()]
    lowest = max(10 * np.floor(min(lows) / 10) - 10 * (min(lows) >= 10), 0)
    panel.set_ylim(lowest - 0.04 * (100 - lowest), 100 + 0.04 * (100 - lowest))


def _late_panel(panel: "Axes", outcomes: Mapping[str, Outcome], clock: Clock) -> None:
    for nth, (policy, outcome) in enumerate(outcomes.items()):
        times, values = _thinned(missed_so_far(outcome.functions), outcome.sample_us, clock)
        colour, style = policy_look(policy)
        panel.plot(times, 100 * values, color=colour, linestyle=style, linewidth=line_width(nth, len(outcomes)))
    panel.set_ylim(bottom=0)
    panel.margins(y=0.15)
    panel.set_ylabel("missed, %")
    panel.set_title(
        "all functions: late, refused or failed so far, of all requests of the run", loc="left", fontsize=10
    )


def _around_samples(outcome: Outcome) -> int:
    return max(round(max(AROUND_S * 1e6, outcome.duration_us / 100) / outcome.sample_us), 1)


def _thinned(values: Floats, sample_us: int, clock: Clock) -> tuple[Floats, Floats]:
    """Means of neighbours, so that a line has no more points than can be seen; times are the middles."""
    fold = -(-len(values) // MAX_POINTS)
    padded = np.append(values, np.full(-len(values) % fold, np.nan)).reshape(-1, fold)
    there = ~np.isnan(padded)
    sums = np.where(there, padded, 0.0).sum(axis=1)
    counts = there.sum(axis=1)
    means = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
    times = (np.arange(len(means)) + 0.5) * fold * sample_us / 1e6 / clock.seconds
    return np.asarray(times, dtype=np.float64), np.asarray(means, dtype=np.float64)


def _finish(panel: "Axes", clock: Clock, duration_us: int) -> None:
    clock.mark(panel, duration_us)
    panel.grid(visible=True, alpha=0.25)
