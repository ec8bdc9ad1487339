"""The report of a check, as plain data: outcomes of questions, the file's name, the last line."""

import json
from typing import Any

import msgspec

EXIT_FAULT, EXIT_NO_GPU = 1, 3


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one question: its answer, or in words why there is none."""

    question: str
    answer: dict[str, Any] | None
    fault: str = ""
    took_s: float = 0.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one run found out."""

    date: str
    facts: dict[str, Any]
    outcomes: tuple[Outcome, ...]
    contract: dict[str, Any]


def outcome_of(question: str, status: int | None, stdout: str, stderr: str, took_s: float) -> Outcome:
    """An asking process's end as an outcome: its last line is the answer. `status` None: it ran out of time."""
    lines = stdout.strip().splitlines()
    if status is None:
        return Outcome(question=question, answer=None, fault="it did not end in time", took_s=took_s)
    if status == 0 and lines:
        try:
            answer = json.loads(lines[-1])
        except ValueError:
            answer = None
        if isinstance(answer, dict):
            return Outcome(question=question, answer=answer, took_s=took_s)
    words = stderr.strip().splitlines()
    how = f"it was ended by signal {-status}" if status < 0 else f"it ended with status {status}"
    fault = f"{how}: {words[-1]}" if words else how
    return Outcome(question=question, answer=None, fault=fault, took_s=took_s)


def contract_of(status: int, stdout: str) -> dict[str, Any]:
    """The contract suite's end: whether it passed, with pytest's own summary. What was only skipped did not pass."""
    lines = stdout.strip().splitlines()
    summary = lines[-1] if lines else ""
    return {
        "passed": status == 0 and " passed" in f" {summary}",
        "summary": summary,
        "failed": _named(lines, "FAILED"),
        "skipped": _named(lines, "SKIPPED"),
    }


def file_name(date: str, device: str) -> str:
    """Where a report goes: by day and device."""
    words = "".join(c if c.isalnum() else " " for c in device.lower()).split()
    return f"gpu-check-{date}-{'-'.join(words) or 'unknown'}.json"


def exit_status(report: Report) -> int:
    """0 where every question has an answer and the contract holds."""
    whole = report.contract.get("passed") and all(outcome.answer is not None for outcome in report.outcomes)
    return 0 if whole else EXIT_FAULT


def _named(lines: list[str], word: str) -> list[str]:
    return [line.removeprefix(f"{word} ") for line in lines if line.startswith(f"{word} ")]
