"""The fewest devices that are enough: doubling until some are, then searching below. Pure: trials are handed in.

It takes for granted that where a number is enough, more are too. That is nearly true and no law: with more devices
replicas land elsewhere, and start and stop at other times. The answer was tried, and so was the number just below it.
"""

from collections.abc import Callable

from fastgshare.shared.simulated import Planned, Tried
from fastgshare.simulator.core.figures import counted_from, most_devices
from fastgshare.simulator.core.outcome import FunctionOutcome, Outcome

Trial = Callable[[int], Tried]
MAX_RANKS = 3


def fewest(trial: Trial, policy: str, kind: str, least: int, most: int, first: int) -> Planned:
    """Between `least` and `most`, beginning at `first`. Each number is tried once."""
    tried: dict[int, Tried] = {}

    def is_enough(devices: int) -> bool:
        if devices not in tried:
            tried[devices] = trial(devices)
        return tried[devices].is_enough

    low, high = least - 1, min(max(first, least), most)
    while not is_enough(high):
        low = high
        if high == most or tried[high].used < high:
            return _hopeless(policy, kind, tried)
        high = min(high * 2, most)
    step = 1
    while high - low > 1:
        next_one = tried[high].used  # what was left over is not needed, most of the time
        if not low < next_one < high:
            next_one = (low + high) // 2 if low in tried else max(high - step, low + 1)
            step *= 2
        low, high = (low, next_one) if is_enough(next_one) else (next_one, high)
    return Planned(policy=policy, devices=high, kind=kind, tried=tuple(tried[number] for number in sorted(tried)))


def judged(devices: int, outcome: Outcome, warmup_us: int) -> Tried:
    """Whether every function met its objective after the warm-up, and by how much those that did not missed it.

    What nothing was counted of is not enough: a function whose requests all came in the warm-up, a run without any.
    """
    misses = [miss for function in outcome.functions if (miss := _miss(function, outcome.sample_us, warmup_us))]
    counted = [counted_from(function, outcome.sample_us, warmup_us) for function in outcome.functions]
    came, in_time = sum(counts.arrived for counts in counted), sum(counts.in_time for counts in counted)
    if not came and not misses:
        misses = ["no request came, so nothing was tried"]
    more = f"; and {len(misses) - MAX_RANKS} more" if len(misses) > MAX_RANKS else ""
    return Tried(
        devices=devices,
        used=most_devices(outcome),
        is_enough=not misses,
        device_seconds=outcome.device_seconds,
        late_share=1 - in_time / came if came else 0.0,
        why="; ".join(misses[:MAX_RANKS]) + more,
    )


def _miss(function: FunctionOutcome, sample_us: int, warmup_us: int) -> str:
    counts = counted_from(function, sample_us, warmup_us)
    if counts.arrived == 0:
        early = function.counts.arrived
        return f"all {early} requests of {function.function} came in the warm-up, so none counts" if early else ""
    attained = counts.in_time / counts.arrived
    if attained * 100 >= function.slo_percentile:
        return ""
    parts = {"late": counts.late, "refused": counts.refused, "failed": counts.failed}
    told = ", ".join(f"{count / counts.arrived:.2%} {name}" for name, count in parts.items() if count)
    infeasible = f"; {function.infeasible}" if function.infeasible else ""
    return (
        f"{function.function} answered {_floored(attained)} within {function.slo_ms:g} ms, "
        f"expected {function.slo_percentile:g}% ({told}){infeasible}"
    )


def _floored(share: float) -> str:
    """Never rounded up to what was expected."""
    return f"{int(share * 10_000) / 100:.2f}%"


def _hopeless(policy: str, kind: str, tried: dict[int, Tried]) -> Planned:
    last = tried[max(tried)]
    why = f"{last.devices} are not enough: {last.why}"
    if last.used < last.devices:
        why = f"more devices do not help: {last.used} of {last.devices} were used, and {last.why}"
    return Planned(policy=policy, devices=0, kind=kind, tried=tuple(tried[n] for n in sorted(tried)), why=why)
