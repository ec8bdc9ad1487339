"""What can be said of a scenario's length only when its traces are read: how long, how many samples and requests.

A scenario that lasts no longer than its warm-up, or than one sample, would count nothing and find everything in order.
"""

from collections.abc import Iterator

from fastgshare.shared.units import us_to_s
from fastgshare.simulator.core.scenario.building import Sources, duration_us_of, requests_of
from fastgshare.simulator.core.scenario.definition import Scenario
from fastgshare.simulator.core.tracefile import MAX_S

MAX_SAMPLES = 10_000_000
"""Over all functions: what a report's counts over time take of memory."""
MAX_REQUESTS = 50_000_000
"""About half an hour for each policy; more only where somebody says so."""
MAX_SHORT_S = 14 * 24 * 3600
"""Even without requests the scheduler looks at everything each second: minutes for such a length."""


def length_problems(scenario: Scenario, sources: Sources) -> Iterator[str]:
    """What is wrong with a scenario that is right otherwise."""
    duration_s = us_to_s(duration_us_of(scenario, sources))
    lasts = f"what the scenario lasts, {duration_s:g} s"
    if duration_s > MAX_S:
        yield f"its traces last {duration_s:g} s, expected at most {MAX_S:g}"
    if scenario.plan.warmup_s >= duration_s:
        yield f"plan.warmup_s is {scenario.plan.warmup_s:g}, expected less than {lasts}: nothing would count"
    if scenario.sample_s > duration_s:
        yield f"sample_s is {scenario.sample_s:g}, expected at most {lasts}"
    samples = duration_s / scenario.sample_s * len(scenario.functions)
    if samples > MAX_SAMPLES:
        yield (
            f"sample_s is {scenario.sample_s:g}, which makes {samples:,.0f} samples over {len(scenario.functions)} "
            f"functions, expected at most {MAX_SAMPLES:,}"
        )


def size_problems(scenario: Scenario, sources: Sources) -> Iterator[str]:
    """What makes it take very long."""
    duration_s = us_to_s(duration_us_of(scenario, sources))
    if duration_s > MAX_SHORT_S:
        yield f"it lasts {duration_s:,.0f} s, expected at most {MAX_SHORT_S:,} without --huge"
    requests = requests_of(scenario, sources)
    if requests > MAX_REQUESTS:
        yield f"about {requests:,.0f} requests for each simulation, expected at most {MAX_REQUESTS:,} without --huge"
