"""What the commands of the benchmarks have in common: their options, their progress, their last line, their status."""

import argparse
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import anyio
import msgspec

from fastgshare.shared.errors import FastGShareError

EXIT_FAULT, EXIT_MISSED = 1, 2
"""The exit statuses where something failed and, under `--check`, where a target is missed."""
FAULTS_SAID = 10

P = TypeVar("P")
R = TypeVar("R")


def parser(description: str) -> argparse.ArgumentParser:
    """Of the options that every benchmark has: `quick` and `check`."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--quick", action="store_true", help="within 45 s")
    made.add_argument("--check", action="store_true", help=f"exit with {EXIT_MISSED} when a target is missed")
    return made


def measure_platform(
    options: argparse.Namespace,
    plans: tuple[P, P],
    measure: Callable[[P], Awaitable[R]],
    publish: Callable[[P, R, bool], int],
) -> int:
    """Measure by one of two plans, quick and full, what runs on an event loop, and publish it; the exit status."""
    plan = plans[0] if options.quick else plans[1]
    try:
        measured = anyio.run(measure, plan, backend_options={"use_uvloop": True})
    except FastGShareError as error:
        say(str(error))
        return EXIT_FAULT
    return publish(plan, measured, options.check)


def finish(document: Mapping[str, object], missed: Sequence[str], faults: Sequence[str] = (), *, check: bool) -> int:
    """Say what was missed, the first faults and, as the last line, the document as one JSON object; the exit status."""
    for line in [*(f"missed: {line}" for line in missed), *faults[:FAULTS_SAID]]:
        print(line)
    print(msgspec.json.encode(document).decode(), flush=True)
    if faults:
        return EXIT_FAULT
    return EXIT_MISSED if missed and check else 0


def say(line: str) -> None:
    """Progress, beside the result."""
    print(f"bench: {line}", file=sys.stderr, flush=True)
