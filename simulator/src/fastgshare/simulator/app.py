"""What the simulator does when it is run: a scenario under each policy, or the fewest devices for one.

Wiring only: files are read and written by the adapters, and everything that is decided is decided in the core.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from fastgshare.shared.errors import InvalidSpec
from fastgshare.shared.simulated import Began, Noted, Planned, Tried, Wrote
from fastgshare.shared.units import s_to_us, us_to_s
from fastgshare.simulator.adapters import writing
from fastgshare.simulator.adapters.reading import Read
from fastgshare.simulator.adapters.report import drawing
from fastgshare.simulator.adapters.telling import Tell, progress_to
from fastgshare.simulator.core.figures import simulated
from fastgshare.simulator.core.outcome import Outcome
from fastgshare.simulator.core.planning import fewest, judged
from fastgshare.simulator.core.run import Progress, Run
from fastgshare.simulator.core.scenario.building import requests_of, resized, run_of
from fastgshare.simulator.core.scenario.checks import problems_in
from fastgshare.simulator.core.scenario.feasibility import doubtful_in, impossible_in
from fastgshare.simulator.core.scenario.lengths import length_problems, size_problems

Simulate = Callable[[Run, Progress], Outcome]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line changes in a scenario; None and empty: nothing."""

    policies: tuple[str, ...] = ()
    devices: int | None = None
    seed: int | None = None
    most: int | None = None
    warmup_s: float | None = None
    is_huge: bool = False


def changed(read: Read, asked: Asked) -> Read:
    """The scenario as asked. Raises InvalidSpec."""
    scenario = read.scenario
    if asked.policies:
        scenario = replace(scenario, policies=asked.policies)
    if asked.seed is not None:
        scenario = replace(scenario, seed=asked.seed)
    if asked.most is not None:
        scenario = replace(scenario, plan=replace(scenario.plan, most=asked.most))
    if asked.warmup_s is not None:
        scenario = replace(scenario, plan=replace(scenario.plan, warmup_s=asked.warmup_s))
    if asked.devices is not None:
        _one_group(read)
        scenario = resized(scenario, asked.devices)
    problems = problems_in(scenario) or list(length_problems(scenario, read.sources))
    if not problems and not asked.is_huge:
        problems = list(size_problems(scenario, read.sources))
    if problems:
        raise InvalidSpec(problems)
    return Read(scenario, read.sources, read.notes)


def simulate_all(read: Read, directory: Path, simulate: Simulate, tell: Tell) -> None:
    """Each policy on the same traffic, its outcome, and one report. Raises InvalidSpec and PlaceUnwritable."""
    scenario, policies = read.scenario, read.scenario.policies
    writing.prepare(directory)
    first = run_of(scenario, policies[0], read.sources)
    told = impossible_in(first) | doubtful_in(first)
    notes = [*read.notes, *(f"{name}: {why}" for name, why in told.items())]
    if not drawing.can_draw():
        tell(Noted(text=drawing.MISSING))
    for note in notes:
        tell(Noted(text=note))
    requests = round(requests_of(scenario, read.sources))
    outcomes: dict[str, Outcome] = {}
    for policy in policies:
        run = run_of(scenario, policy, read.sources)
        tell(Began(what=policy, duration_s=us_to_s(run.duration_us), of=len(policies), requests=requests))
        outcomes[policy] = simulate(run, progress_to(tell))
        writing.write_outcome(directory, policy, outcomes[policy])
        tell(simulated(policy, outcomes[policy]))
    tell(Wrote(path=str(writing.write_report(directory, scenario, outcomes, tuple(notes)))))


def plan(read: Read, directory: Path | None, simulate: Simulate, tell: Tell) -> bool:
    """The fewest devices under each policy; whether there are such numbers. With a directory, a report on them.

    Raises InvalidSpec where no number of devices can be enough, before anything is simulated.
    """
    _one_group(read)
    scenario = read.scenario
    if directory is not None:
        writing.prepare(directory)
    run = run_of(scenario, scenario.policies[0], read.sources)
    if impossible := impossible_in(run):
        raise InvalidSpec([f"{name}: {why}" for name, why in impossible.items()])
    for note in (*read.notes, *(f"{name}: {why}" for name, why in doubtful_in(run).items())):
        tell(Noted(text=note))
    answers, outcomes = [], {}
    for policy in scenario.policies:
        answer, outcome = _plan_one(read, policy, simulate, tell)
        tell(answer)
        answers.append(answer)
        if outcome is not None:
            outcomes[policy] = outcome
            if directory is not None:
                writing.write_outcome(directory, policy, outcome)
    if directory is not None and outcomes:
        tell(Wrote(path=str(writing.write_report(directory, scenario, outcomes, _told(answers)))))
    return all(answer.devices for answer in answers)


def _plan_one(read: Read, policy: str, simulate: Simulate, tell: Tell) -> tuple[Planned, Outcome | None]:
    scenario = read.scenario
    [group] = scenario.groups
    best: dict[int, Outcome] = {}
    requests = round(requests_of(scenario, read.sources))

    def trial(devices: int) -> Tried:
        run = run_of(resized(scenario, devices), policy, read.sources)
        what = f"{policy}, {devices} device{'' if devices == 1 else 's'}"
        tell(Began(what=what, duration_s=us_to_s(run.duration_us), requests=requests))
        outcome = simulate(run, progress_to(tell))
        tried = judged(devices, outcome, s_to_us(scenario.plan.warmup_s))
        if tried.is_enough:
            best.clear()  # the last number that is enough is the answer
            best[devices] = outcome
        tell(tried)
        return tried

    # Failures name nodes, so those have to be there.
    least = _least(read)
    most = max(scenario.plan.most, least)
    answer = fewest(trial, policy, group.gpu or group.kind or "", least, most, first=group.count)
    return answer, best.get(answer.devices)


def _least(read: Read) -> int:
    """The fewest devices with which everything that fails is there."""
    scenario = read.scenario
    [group] = scenario.groups
    for devices in range(1, group.count + 1):
        if not problems_in(resized(scenario, devices)):
            return devices
    return group.count


def _one_group(read: Read) -> None:
    groups = len(read.scenario.groups)
    if groups > 1:
        raise InvalidSpec([f"devices has {groups} groups, expected one: how many of which to change is not told"])


def _told(answers: Sequence[Planned]) -> tuple[str, ...]:
    return tuple(
        f"fewest devices under {answer.policy}: {answer.devices}"
        if answer.devices
        else f"{answer.policy}: {answer.why}"
        for answer in answers
    )
