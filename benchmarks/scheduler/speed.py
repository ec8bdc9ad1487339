"""How many requests a second of one core are simulated, with everything in it, and which room takes how much of that.

Sixteen emulated V100s, three models in twelve functions on the paper's slices; the number of replicas follows demand
(policy `fixed`), from 48 in all to twice as many; the load comes in two steps and is steady then. One gateway. Each
request is admitted, routed, batched, waits for tokens, runs and is answered; the scheduler hears of it all. Counted is
what comes after the start (`STEADY_S`; all of it is told too), in processor time, so that other work on the machine
matters less; the fastest of several runs. Beside it: policy `objective`, which also chooses every slice anew, so the
scheduler has much more to do for as many requests; and in the full run all replicas of a model in one function, as a
gateway looks at every replica of a function for each request.
"""

from collections.abc import Callable, Mapping, Sequence
from time import process_time
from typing import NamedTuple

from benchmarks.platforms import ROOT
from benchmarks.scheduler.sampling import sampled, shares
from fastgshare.shared.units import US_PER_S
from fastgshare.simulator.adapters.reading import Read, complete, parse_scenario
from fastgshare.simulator.core.outcome import Outcome
from fastgshare.simulator.core.scenario.building import run_of
from fastgshare.simulator.spending import timed

SCENARIO = """
devices: {gpu: v100, count: 16}
duration_s: %g
functions:
%s"""
RESNET = """  - {name: resnet-%d, model: {curve: v100/resnet50}, slo_ms: 100, max_batch: 4, %s, load_ms: 100,
     slice: {sm_partition: 12, quota_request: 1.0, gpu_mem_mib: 1525}, traffic: %s}
"""
BERT = """  - {name: bert-%d, model: {curve: v100/bert}, slo_ms: 500, max_batch: 4, %s, load_ms: 100,
     slice: {sm_partition: 50, quota_request: 1.0, gpu_mem_mib: 1600}, traffic: %s}
"""
RNNT = """  - {name: rnnt-%d, model: {curve: v100/rnnt}, slo_ms: 800, max_batch: 4, %s, load_ms: 100,
     slice: {sm_partition: 24, quota_request: 1.0, gpu_mem_mib: 800}, traffic: %s}
"""
REPLICAS_AND_RPS = ((RESNET, 40, 1600.0), (BERT, 4, 100.0), (RNNT, 4, 24.0))
RAMP = ((1, 0.5), (4, 1.0))
"""From which second on comes which share of the load."""
PARTS = (8, 2, 2)
"""Into how many functions the replicas and the load of each model are divided."""
POLICY, CHOOSING = "fixed", "objective"
STEADY_S = 7.0
QUICK_S, FULL_S = 12.0, 60.0
QUICK_RUNS, FULL_RUNS = 2, 5


class Played(NamedTuple):
    """A run, and its requests a second of processor time: of all of it, and after the start."""

    outcome: Outcome
    rps: float
    steady_rps: float


def measure(quick: bool, say: Callable[[str], None]) -> Mapping[str, object]:
    """The figures by key."""
    seconds, runs = (QUICK_S, QUICK_RUNS) if quick else (FULL_S, FULL_RUNS)
    read = fleet(seconds, PARTS)
    played = []
    for number in range(runs):
        say(f"speed: run {number + 1}")
        played.append(play(read))
    best = max(played, key=lambda each: each.steady_rps)
    say("speed: the same while slices are chosen")
    beside = {"sim_requests_per_s_objective": round(play(read, CHOOSING).steady_rps)}
    if not quick:
        say("speed: the same with all replicas of a model in one function")
        beside["sim_requests_per_s_wide"] = round(play(fleet(seconds, (1, 1, 1))).steady_rps)
    say("speed: once more, to see where the time goes")
    with sampled() as found:
        play(read)
    outcome = best.outcome
    return {
        "sim_requests_per_s": round(best.steady_rps),
        "sim_requests_per_s_from_start": round(max(each.rps for each in played)),
        **beside,
        "sim_time_share": shares(found),
        "sim_requests": outcome.requests,
        "sim_decisions": len(outcome.decisions),
        "sim_late_share": round(outcome.late_share, 4),
        "sim_rows_per_batch": round(outcome.requests / sum(function.batches for function in outcome.functions), 2),
    }


def fleet(seconds: float, parts: Sequence[int]) -> Read:
    """The scenario, each model in so many functions."""
    functions = [
        entry % (number, _replicas(replicas // count), _traffic(rps / count))
        for (entry, replicas, rps), count in zip(REPLICAS_AND_RPS, parts, strict=True)
        for number in range(count)
    ]
    return complete(parse_scenario(SCENARIO % (seconds, "".join(functions))), ROOT)


def play(read: Read, policy: str = POLICY) -> Played:
    """One run as `fastgshare simulate` makes it."""
    passed: list[tuple[float, int]] = []

    def note(now_us: int, requests: int) -> None:
        if now_us >= STEADY_S * US_PER_S and not passed:
            passed.append((process_time(), requests))

    began_s = process_time()
    outcome = timed(run_of(read.scenario, policy, read.sources), note)
    ended_s = process_time()
    steady_s, before = passed[0] if passed else (began_s, 0)
    return Played(outcome, outcome.requests / outcome.spent.wall_s, (outcome.requests - before) / (ended_s - steady_s))


def _replicas(count: int) -> str:
    return f"autoscale: {{min: {count}, max: {2 * count}}}"


def _traffic(rps: float) -> str:
    return f"{{steps: {[[at_s, rps * share] for at_s, share in RAMP]}}}"
