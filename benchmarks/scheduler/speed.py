"""How many requests a second of one core are simulated, with everything in it, and which room takes how much of that.

A steady fleet: eight emulated V100s, 48 replicas of three models in twelve functions, on slices as the paper has them,
at about 80 % of what they can do. Each request is admitted, routed, batched, waits for tokens, runs and is answered;
the scheduler hears of it all. Processor time is counted, so that other work on the machine matters less; the fastest of
several runs. A gateway looks at every replica of a function for each request, so the same fleet with all replicas of a
model in one function is slower, and told beside it.
"""

from collections.abc import Callable, Mapping, Sequence

from benchmarks.platforms import ROOT
from benchmarks.scheduler.sampling import sampled, shares
from fastgshare.simulator.adapters.reading import Read, complete, parse_scenario
from fastgshare.simulator.core.outcome import Outcome
from fastgshare.simulator.core.scenario.building import run_of
from fastgshare.simulator.spending import timed

SCENARIO = """
devices: {gpu: v100, count: 8}
duration_s: %g
functions:
%s"""
RESNET = """  - {name: resnet-%d, model: {curve: v100/resnet50}, slo_ms: 100, max_batch: 4, replicas: %d, load_ms: 100,
     slice: {sm_partition: 12, quota_request: 1.0, gpu_mem_mib: 1525}, traffic: {rps: %g, start_s: 1}}
"""
BERT = """  - {name: bert-%d, model: {curve: v100/bert}, slo_ms: 500, max_batch: 4, replicas: %d, load_ms: 100,
     slice: {sm_partition: 50, quota_request: 1.0, gpu_mem_mib: 1600}, traffic: {rps: %g, start_s: 1}}
"""
RNNT = """  - {name: rnnt-%d, model: {curve: v100/rnnt}, slo_ms: 800, max_batch: 4, replicas: %d, load_ms: 100,
     slice: {sm_partition: 24, quota_request: 1.0, gpu_mem_mib: 800}, traffic: {rps: %g, start_s: 1}}
"""
REPLICAS_AND_RPS = ((RESNET, 40, 2200.0), (BERT, 4, 150.0), (RNNT, 4, 38.0))
PARTS = (8, 2, 2)
"""Into how many functions the replicas and the load of each model are divided."""
POLICY = "fixed"
QUICK_S, FULL_S = 6.0, 60.0
QUICK_RUNS, FULL_RUNS = 6, 9


def measure(quick: bool, say: Callable[[str], None]) -> Mapping[str, object]:
    """The figures by key."""
    seconds, runs = (QUICK_S, QUICK_RUNS) if quick else (FULL_S, FULL_RUNS)
    read = fleet(seconds, PARTS)
    outcomes = []
    for number in range(runs):
        say(f"speed: run {number + 1}")
        outcomes.append(play(read))
    say("speed: the same with all replicas of a model in one function")
    together = play(fleet(seconds, (1, 1, 1)))
    say("speed: once more, to see where the time goes")
    with sampled() as found:
        play(read)
    best = max(outcomes, key=rate)
    return {
        "sim_requests_per_s": round(rate(best)),
        "sim_requests_per_s_wide": round(rate(together)),
        "sim_time_share": shares(found),
        "sim_requests": best.requests,
        "sim_late_share": round(best.late_share, 4),
        "sim_rows_per_batch": round(best.requests / sum(function.batches for function in best.functions), 2),
    }


def fleet(seconds: float, parts: Sequence[int]) -> Read:
    """The scenario, each model in so many functions."""
    functions = [
        entry % (number, replicas // count, rps / count)
        for (entry, replicas, rps), count in zip(REPLICAS_AND_RPS, parts, strict=True)
        for number in range(count)
    ]
    return complete(parse_scenario(SCENARIO % (seconds, "".join(functions))), ROOT)


def play(read: Read) -> Outcome:
    """One run as `fastgshare simulate` makes it, its processor time in `Outcome.spent`."""
    return timed(run_of(read.scenario, POLICY, read.sources))


def rate(outcome: Outcome) -> float:
    """Requests a second of the simulation's own time."""
    return outcome.requests / outcome.spent.wall_s
