"""The same load elsewhere: this run's arrivals and tables as a scenario, and what the simulator makes of it.

Writing and starting a process, nothing else: the scenario stays in the report's folder for whoever wants to try
another policy or another number of devices.
"""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from examples.demo.figures import Fleet, Summary
from examples.demo.plan import Arrival
from fastgshare.shared.messages import FunctionSpec, Profile
from fastgshare.shared.simulated import Simulated
from fastgshare.shared.typed import decode_json
from fastgshare.shared.units import us_to_s

OBJECTIVE, EXCLUSIVE = "objective", "exclusive"
FOLDER, SCENARIO, TRACE = "elsewhere", "scenario.yaml", "arrivals.csv"
PATIENCE_S = 180.0
SAID_LINES = 3


class NotSimulated(Exception):
    """The simulator gave no figures; the text says why."""


def write_scenario(
    folder: Path,
    summary: Summary,
    specs: Mapping[str, FunctionSpec],
    timetable: Sequence[Arrival],
    chunks: int,
    memory_mib: int,
) -> Path:
    """The scenario with its trace and tables in a folder of its own; as many devices as functions, each like one here.

    A device has `chunks` chunks and memory in MiB.
    """
    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    rows = [f"{us_to_s(arrival.due_us):.6f},{arrival.function}" for arrival in timetable]
    (place / TRACE).write_text("\n".join(["t_s,function", *rows]) + "\n")
    for function, profile in summary.profiles.items():
        (place / f"{function}.json").write_bytes(msgspec.json.encode(profile) + b"\n")
    path = place / SCENARIO
    path.write_text(yaml.safe_dump(scenario_of(summary, specs, chunks, memory_mib), sort_keys=False, width=120))
    return path


def scenario_of(summary: Summary, specs: Mapping[str, FunctionSpec], chunks: int, memory_mib: int) -> dict[str, Any]:
    """The scenario file's content: callers wait as long as in the run, for the objective and no longer."""
    kinds = {profile.device_kind for profile in summary.profiles.values()}
    return {
        "name": "demo",
        "description": "The arrivals of a run of `make demo`, on devices such as its machine's.",
        "duration_s": summary.load_seconds,
        "seed": summary.seed,
        "devices": {"count": len(specs), "kind": kinds.pop(), "chunks": chunks, "memory_mib": memory_mib},
        "policies": [OBJECTIVE, EXCLUSIVE],
        "functions": [_function(summary, spec) for spec in specs.values()],
    }


def _function(summary: Summary, spec: FunctionSpec) -> dict[str, Any]:
    own = [status for status in summary.replicas if status.function == spec.name and not status.loan]
    bounds = spec.autoscale
    return {
        "name": str(spec.name),
        "model": {"table": f"{spec.name}.json"},
        "slo_ms": spec.slo_ms,
        "slo_percentile": spec.slo_percentile,
        "max_batch": spec.max_batch,
        "autoscale": {"min": max(bounds.min, 1), "max": bounds.max} if bounds else {"min": 1, "max": 1},
        "slice": {"gpu_mem_mib": spec.slice.gpu_mem_mib},
        "weights_mib": round(max((status.weights_mib for status in own), default=0.0), 1),
        "load_ms": round(max((status.load_ms for status in own), default=1000.0)),
        "patience_s": spec.slo_ms / 1000,
        "traffic": {"trace": {"file": TRACE}},
    }


def simulated(scenario: Path, devices: int, functions: int) -> list[Fleet]:
    """What came of it on as many devices as the run had, and with one for each function. Raises NotSimulated."""
    return [_under(OBJECTIVE, devices, scenario), _under(EXCLUSIVE, functions, scenario)]


def _under(policy: str, devices: int, scenario: Path) -> Fleet:
    out = scenario.parent / policy
    choice = ["--policy", policy, "--devices", str(devices), "--out", str(out)]
    command = [sys.executable, "-m", "fastgshare.cli", "simulate", str(scenario), *choice]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise NotSimulated(f"it took longer than {PATIENCE_S:.0f} s") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-SAID_LINES:]
        raise NotSimulated(" ".join(said) or f"it ended with status {done.returncode}")
    [figures] = decode_json(list[Simulated], (out / "figures.json").read_bytes())
    return fleet_of(figures)


def fleet_of(figures: Simulated) -> Fleet:
    """The gist of one policy."""
    return Fleet(
        policy=figures.policy,
        devices=figures.most_devices,
        device_seconds=figures.device_seconds,
        attainment={function.function: function.attainment for function in figures.functions},
    )


def tables_are_there(profiles: Mapping[str, Profile], specs: Mapping[str, FunctionSpec]) -> bool:
    """Whether every function has a table, all of one kind of device."""
    return specs.keys() <= profiles.keys() and len({profile.device_kind for profile in profiles.values()}) == 1
