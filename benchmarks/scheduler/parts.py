"""The parts of the benchmark by name: how long each takes in the short run, and what it gives under which keys.

A part's modules are imported when its turn comes: some need packages (an exact solver) that others do not.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import anyio

from benchmarks.scheduler.figures import growth

Say = Callable[[str], None]
Part = Callable[[bool, Say], Mapping[str, object]]

QUICK_MIXES, QUICK_LIMIT_S = 6, 0.5
FULL_MIXES, FULL_LIMIT_S = 40, 10.0
QUICK_STARTS, FULL_STARTS = 2, 8
FLEET = 1_000
WAITING = 50
"""So many functions find no room in one of the fleets."""
QUICK_FLEETS, FULL_FLEETS = (100, FLEET), (100, FLEET, 10_000)
REPLICAS_A_DEVICE, LEAST_FUNCTIONS, MOST_FUNCTIONS = 10, 5, 500
QUICK_STREAM_S, FULL_STREAM_S = 1.0, 6.0


def _own(name: str) -> Any:
    return importlib.import_module(f"benchmarks.scheduler.{name}")


def fidelity(quick: bool, say: Say) -> Mapping[str, object]:
    """One trace on the real platform and simulated."""
    figures: Mapping[str, object] = _own("fidelity").measure(quick, say)
    return figures


def cold_start(quick: bool, say: Say) -> Mapping[str, object]:
    """From no replica to the first answer: the slowest of several starts counts."""
    say("cold start: from no replica to the first answer")
    found = anyio.run(_own("cold_start").cold_start, QUICK_STARTS if quick else FULL_STARTS)
    return {
        "cold_start_beyond_load_ms": found["beyond_load_ms_max"],
        "cold_start_beyond_load_ms_median": found["beyond_load_ms"],
        "cold_start": found,
    }


def service_levels(quick: bool, say: Say) -> Mapping[str, object]:
    """Experiment e under each policy."""
    figures: Mapping[str, object] = _own("service_levels").measure(quick, say)
    return figures


def packing(quick: bool, say: Say) -> Mapping[str, object]:
    """Arrival orders of a known mix, and random mixes against the exact solver."""
    module = _own("packing")
    say("packing: 420 orders of eight replicas")
    orders = module.orders_placed()
    say("packing: random mixes against the exact solver")
    gaps = (
        module.gap_to_optimal(QUICK_MIXES, limit_s=QUICK_LIMIT_S)
        if quick
        else module.gap_to_optimal(FULL_MIXES, limit_s=FULL_LIMIT_S)
    )
    return {
        "orders_placed": orders["orders_placed"],
        "orders_placed_without_repacking": orders["orders_placed_without_repacking"],
        "gap_to_optimal": gaps["gap_mean"],
        "gap_to_optimal_max": gaps["gap_max"],
        "gap_on_arrival": gaps["gap_mean_on_arrival"],
        "packing": {"orders": orders, "gaps": gaps},
    }


def scale(quick: bool, say: Say) -> Mapping[str, object]:
    """What a decision takes in fleets of several sizes: steps with something to decide, so not heartbeats."""
    module = _own("scale")
    found = {}
    for devices in QUICK_FLEETS if quick else FULL_FLEETS:
        say(f"scale: decisions for {devices:,} devices")
        functions = max(LEAST_FUNCTIONS, min(MOST_FUNCTIONS, devices // 2))
        found[devices] = module.decision_ms(
            devices, REPLICAS_A_DEVICE * devices, functions, seconds=QUICK_STREAM_S if quick else FULL_STREAM_S
        )
    crowded = {} if quick else _crowded(module, say)
    return {
        "decision_ms_p99": found[FLEET]["p99_working"],
        "decision_ms_p99_all_steps": found[FLEET]["p99"],
        **({"decision_ms_p99_while_some_wait": crowded["p99_working"]} if crowded else {}),
        **({"decision_ms_max_while_some_wait": crowded["max"]} if crowded else {}),
        "decision_growth": growth({devices: figures["p99_working"] for devices, figures in found.items()}),
        "decision_devices": sorted(found),
        "decisions": [*found.values(), *([crowded] if crowded else [])],
    }


def _crowded(module: Any, say: Say) -> Mapping[str, float]:
    """The same fleet while some functions find no room; in the full run only."""
    say(f"scale: decisions for {FLEET:,} devices while {WAITING} functions find no room")
    functions = min(MOST_FUNCTIONS, FLEET // 2)
    found: Mapping[str, float] = module.decision_ms(
        FLEET, REPLICAS_A_DEVICE * FLEET, functions, seconds=FULL_STREAM_S, blocked=WAITING
    )
    return found


def speed(quick: bool, say: Say) -> Mapping[str, object]:
    """Requests simulated a second, and where the time goes."""
    figures: Mapping[str, object] = _own("speed").measure(quick, say)
    return figures


PARTS: Mapping[str, Part] = {
    "fidelity": fidelity,
    "cold_start": cold_start,
    "service_levels": service_levels,
    "packing": packing,
    "scale": scale,
    "speed": speed,
}
"""In this order: first those that measure the real platform."""
