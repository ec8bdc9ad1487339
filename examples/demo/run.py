"""`make demo`: the whole platform on real models and real input, and a report of what came of it.

Exit status 0: every request was answered or refused with a reason, and the answers are right often enough; 1: not so,
the last line says why; 130: stopped by a signal.
"""

import argparse
import logging
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import anyio
import msgspec
from anyio.abc import TaskStatus
from msgspec.structs import replace
from rich.console import Console

from examples.demo.course import ROOT, Options, Played, run_demo
from examples.demo.elsewhere import NotSimulated, simulated, tables_are_there, write_scenario
from examples.demo.faults import first_fault
from examples.demo.figures import Summary
from examples.demo.picture import draw
from examples.demo.render import markdown, show
from examples.demo.screen import Screen, screen_for
from examples.demo.sections import sections, verdict
from fastgshare.shared.errors import FastGShareError

EXIT_FAULT, EXIT_STOPPED = 1, 130
SECONDS = 60.0
LEAST_SECONDS = 3.0


def main(argv: list[str]) -> int:
    """The demo; its exit status."""
    # Troubles of our own connection show in the outcomes; the services have logs.
    logging.basicConfig(level=logging.ERROR)
    options = options_from(argv)
    screen = screen_for(Console())
    try:
        played = anyio.run(_until_done, options, screen, backend_options={"use_uvloop": True})
    except (FastGShareError, OSError) as error:
        screen.say(f"FAILED: {error}")
        return EXIT_FAULT
    if played is None:
        screen.say("stopped; nothing was left running")
        return EXIT_STOPPED
    return publish(played, options.reports, screen)


def options_from(argv: list[str]) -> Options:
    """Command-line arguments."""
    parser = argparse.ArgumentParser(
        prog="make demo", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"length of the load (default {SECONDS:.0f})")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same inputs (default 1)")
    parser.add_argument("--data-dir", type=Path, help="keep the platform's state and logs there")
    parser.add_argument("--reports", type=Path, default=ROOT / "reports", help="where reports go (default reports/)")
    given = parser.parse_args(argv)
    if given.seconds < LEAST_SECONDS:
        parser.error(f"--seconds must be at least {LEAST_SECONDS:g}")
    return Options(seconds=given.seconds, seed=given.seed, data_dir=given.data_dir, reports=given.reports)


def publish(played: Played, reports: Path, screen: Screen) -> int:
    """Write the report, show the gist of it; the exit status."""
    folder = reports / f"demo-{datetime.now(UTC).astimezone():%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True, exist_ok=True)
    with screen.working("simulating the same load with a device for every function"):
        summary = _elsewhere(played, folder)
    told, said = sections(summary, draw(summary, folder, played.chunks)), verdict(summary)
    (folder / "report.md").write_text(markdown("FaST-GShare demo", [said, *map(_as_note, summary.notes)], told))
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(summary)) + b"\n")
    show(screen.console, told)
    screen.say(f"\nthe whole report: {_short(folder / 'report.md')}, figures: {_short(folder / 'report.json')}")
    for note in summary.notes:
        screen.say(_as_note(note))
    screen.say(said)
    return EXIT_FAULT if summary.problems else 0


def _elsewhere(played: Played, folder: Path) -> Summary:
    """The summary with what the same load takes in simulation; or a note why that is not known."""
    summary = played.summary
    if not tables_are_there(summary.profiles, played.specs):
        return replace(
            summary, notes=[*summary.notes, "the same load was not simulated: not every function has a table"]
        )
    try:
        scenario = write_scenario(folder, summary, played.specs, played.timetable, played.chunks, played.memory_mib)
        fleets = simulated(scenario, played.devices, len(played.specs))
    except NotSimulated as error:
        return replace(summary, notes=[*summary.notes, f"the same load was not simulated: {error}"])
    return replace(summary, fleets=fleets)


def _as_note(note: str) -> str:
    return f"Note: {note}."


def _short(path: Path) -> str:
    """Relative to where the person stands, if below."""
    path = path.resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


async def _until_done(options: Options, screen: Screen) -> Played | None:
    """The demo to its end, or None when a signal ended it; a second signal kills what does not stop."""
    hurry, work = anyio.Event(), anyio.CancelScope()
    played: Played | None = None
    with first_fault():
        async with anyio.create_task_group() as tasks:
            await tasks.start(_obey_signals, work, hurry, screen)
            with work:
                played = await run_demo(options, screen, hurry)
            tasks.cancel_scope.cancel()
    return played


async def _obey_signals(
    work: anyio.CancelScope, hurry: anyio.Event, screen: Screen, *, task_status: TaskStatus[None]
) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            if work.cancel_called:
                hurry.set()
            else:
                screen.say("stopping; once more to kill")
                work.cancel()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
