"""`python -m fastgshare.simulator run SCENARIO.yaml --out DIR`, or `plan`; people use `fastgshare simulate`.

Standard output is for programs: a JSON object a line (`fastgshare.shared.simulated`). Exit status 0: done. 1: it
broke down, or the report could not be written. 2: what was asked for makes no sense. 3: no number of devices is enough.
"""

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from fastgshare.node_manager.devices.sim.curves import shipped
from fastgshare.shared.errors import FastGShareError, InvalidSpec
from fastgshare.shared.simulated import Refused
from fastgshare.simulator.adapters.reading import Read, complete, read_scenario, text_of
from fastgshare.simulator.adapters.telling import tell
from fastgshare.simulator.adapters.writing import PlaceUnusable
from fastgshare.simulator.app import Asked, Simulate, changed, plan, simulate_all
from fastgshare.simulator.core.scenario.tracing import Wish, scenario_for
from fastgshare.simulator.core.tracefile import TraceInvalid, read_trace, shown
from fastgshare.simulator.spending import timed

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNMET = 3
TRACE_SUFFIX = ".csv"


def main(arguments: Sequence[str] | None = None, engine: Simulate = timed) -> int:
    """The command; returns its exit status."""
    asked = _parser().parse_args(arguments)
    try:
        read = changed(_read(asked), _changes(asked))
        if asked.command == "run":
            simulate_all(read, asked.out, engine, tell)
            return 0
        return 0 if plan(read, asked.out, engine, tell) else EXIT_UNMET
    except InvalidSpec as error:
        tell(Refused(problems=tuple(f"{asked.file}: {problem}" for problem in error.problems)))
        return EXIT_USAGE
    except PlaceUnusable as error:
        tell(Refused(problems=(str(error),)))
        return EXIT_USAGE
    except FastGShareError as error:
        tell(Refused(problems=(str(error),)))
        return EXIT_FAILED
    except BrokenPipeError:  # nobody listens any more
        return EXIT_FAILED
    except Exception as error:  # a fault of ours: one line, and never a half report that looks whole
        tell(Refused(problems=(f"{asked.file}: {_broken(error)}",)))
        return EXIT_FAILED


def _broken(error: Exception) -> str:
    """What broke, and where, in a line."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    said = " ".join(str(error).split()) or "no reason given"
    return (
        f"the simulator broke down: {type(error).__name__}: {said} ({Path(where.filename).name}, line {where.lineno})"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fastgshare.simulator", description="The fleet over virtual time.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, told in (("run", "simulate a scenario"), ("plan", "find the fewest devices for a scenario or trace")):
        command = commands.add_parser(name, help=told)
        command.add_argument(
            "file", type=Path, help="a scenario in YAML" + (", or a trace in CSV" if name == "plan" else "")
        )
        command.add_argument("--out", type=Path, required=name == "run", help="where reports go")
        command.add_argument("--policy", action="append", default=[], help="instead of the scenario's; repeatable")
        command.add_argument("--seed", type=int, help="instead of the scenario's")
        command.add_argument("--huge", action="store_true", help="also what takes hours")
        command.add_argument("--devices", type=int, help="instead of the scenario's; for plan, where to begin")
        if name == "plan":
            _add_wish(command)
    return parser


def _add_wish(command: argparse.ArgumentParser) -> None:
    command.add_argument("--most", type=int, help="devices to try at most")
    command.add_argument("--warmup", type=float, help="seconds at the start that do not count")
    trace = command.add_argument_group("for a trace, which says nothing of functions and devices")
    defaults = Wish(model="")
    trace.add_argument("--model", help="a shipped curve, or a table in .json")
    trace.add_argument("--slo-ms", type=float, default=defaults.slo_ms)
    trace.add_argument("--slo-percentile", type=float, default=defaults.slo_percentile)
    trace.add_argument("--max-batch", type=int, default=defaults.max_batch)
    trace.add_argument("--gpu", default=defaults.gpu)


def _changes(asked: argparse.Namespace) -> Asked:
    return Asked(
        policies=tuple(asked.policy),
        devices=asked.devices,
        seed=asked.seed,
        most=getattr(asked, "most", None),
        warmup_s=getattr(asked, "warmup", None),
        is_huge=asked.huge,
    )


def _read(asked: argparse.Namespace) -> Read:
    """Raises InvalidSpec."""
    if asked.command != "plan" or asked.file.suffix.lower() != TRACE_SUFFIX:
        return read_scenario(asked.file)
    try:
        trace = read_trace(text_of(asked.file))
    except TraceInvalid as error:
        raise InvalidSpec(list(shown(error.problems))) from error
    if not asked.model:
        raise InvalidSpec(
            [f"a trace does not tell what is run: expected --model, a table in .json or one of {', '.join(shipped())}"]
        )
    wish = Wish(asked.model, asked.slo_ms, asked.slo_percentile, asked.max_batch, asked.gpu)
    return complete(scenario_for(asked.file.name, trace, wish), asked.file.parent)


if __name__ == "__main__":
    sys.exit(main())
