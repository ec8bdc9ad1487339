"""Ask every question in a process of its own, run the device contract, write the report."""

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import msgspec

from benchmarks.gpu_check.facts import collect, gpu_missing
from benchmarks.gpu_check.report import (
    EXIT_NO_GPU,
    Outcome,
    Report,
    contract_of,
    exit_status,
    file_name,
    outcome_of,
)

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
QUESTIONS = ("chunks", "disjoint", "events", "costs", "recapture", "gate", "streams", "gpm", "mps")
QUESTION_LIMIT_S = 180
CONTRACT_LIMIT_S = 900
CONTRACT = ("-m", "gpu", "-p", "no:cacheprovider", "tests/node_manager/devices")


def main(argv: list[str]) -> int:
    """Check device 0; the exit status. The last line printed is the report as one JSON object."""
    parser = argparse.ArgumentParser(description="what only a GPU can answer")
    parser.add_argument("--only", choices=QUESTIONS, nargs="+", default=QUESTIONS, help="ask these questions alone")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the report")
    arguments = parser.parse_args(argv)
    missing = gpu_missing()
    if missing:
        print(f"gpu-check: nothing to check on this machine: {missing}")
        return EXIT_NO_GPU
    date = datetime.now(UTC).date().isoformat()
    facts = collect()
    outcomes = tuple(ask(question) for question in arguments.only)
    report = Report(date=date, facts=facts, outcomes=outcomes, contract=run_contract())
    arguments.results.mkdir(parents=True, exist_ok=True)
    path = arguments.results / file_name(date, str(facts["device"]))
    text = msgspec.json.encode(report)
    path.write_bytes(msgspec.json.format(text, indent=2) + b"\n")
    print(f"gpu-check: written to {path}")
    print(text.decode())
    return exit_status(report)


def ask(question: str, limit_s: float = QUESTION_LIMIT_S) -> Outcome:
    """One question's outcome. A crash, a hang or a lost device ends its own process only."""
    started_s = monotonic()
    command = [sys.executable, "-m", "benchmarks.gpu_check.questions", question]
    try:
        done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        outcome = outcome_of(question, None, "", "", monotonic() - started_s)
    else:
        outcome = outcome_of(question, done.returncode, done.stdout, done.stderr, monotonic() - started_s)
    said = json.dumps(outcome.answer) if outcome.answer is not None else f"no answer: {outcome.fault}"
    print(f"gpu-check: {question}: {said}", flush=True)
    return outcome


def run_contract() -> dict[str, object]:
    """The device contract on the real device."""
    command = [sys.executable, "-m", "pytest", "-q", *CONTRACT]
    try:
        done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=CONTRACT_LIMIT_S)
    except subprocess.TimeoutExpired:
        return {"passed": False, "summary": f"it did not end within {CONTRACT_LIMIT_S} s", "failed": []}
    found = contract_of(done.returncode, done.stdout)
    print(f"gpu-check: contract: {found['summary']}", flush=True)
    return found
