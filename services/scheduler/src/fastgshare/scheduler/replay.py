"""`python -m fastgshare.scheduler.replay PLACE`: read the journal of a run, print its decisions or decide them again.

PLACE is a segment, a run, an instance or the whole journal directory. Exit status: 0, everything was decided the same
again; 1, something was not, and the first difference of each segment is told; 2, there is nothing that can be read;
3, the core failed on an entry, which is told. The highest of these, where segments differ.
"""

import argparse
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from fastgshare.scheduler.adapters.checkpoint import CheckpointInvalid
from fastgshare.scheduler.adapters.journal import segments_under
from fastgshare.scheduler.adapters.journal_file import JournalInvalid, Segment, code_digest
from fastgshare.scheduler.core.commands import (
    AnswerWish,
    Command,
    MoveReplica,
    PlaceReplica,
    RemoveReplica,
    Report,
    ResizeReplica,
)
from fastgshare.scheduler.core.replay import Replayed, replay
from fastgshare.shared.units import us_to_s

SAME, DIFFERENT, UNREADABLE, CRASHED = 0, 1, 2, 3


class Told(NamedTuple):
    """A command of a journal, when it was decided (Unix time), and what the core was told at that moment."""

    at_us: int
    instance: str
    cause: str
    command: Command

    def __str__(self) -> str:
        at = datetime.fromtimestamp(us_to_s(self.at_us)).astimezone()
        return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}  {self.cause}  {words_of(self.command)}"


def words_of(command: Command) -> str:
    """A command and its reason in a line."""
    match command:
        case PlaceReplica(placement, reason) | ResizeReplica(placement, reason) | MoveReplica(placement, reason):
            held = placement.function.slice
            chunks = " ".join(str(chunk) for chunk in placement.chunks)
            return (
                f"{type(command).__name__} {placement.replica} on {placement.device} chunks [{chunks}]"
                f" quota {held.quota_request:g}: {reason}"
            )
        case RemoveReplica(node=node, replica=replica, reason=reason):
            return f"RemoveReplica {replica} of {node}: {reason}"
        case AnswerWish(reply=reply):
            return f"AnswerWish {reply.loan} {reply.state.value} {reply.replica}: {reply.reason}"
        case Report(kind, function, text):
            return f"Report {kind} {function}: {text}"


def told(segment: Segment) -> Iterator[Told]:
    """The commands of a segment, in order."""
    start = segment.beginning
    for entry in segment.entries():
        at_us = start.unix_us + entry.now_us - start.clock_us
        for command in entry.decision.commands:
            yield Told(at_us, start.instance, type(entry.event).__name__, command)


def checked(segment: Segment) -> Replayed:
    """Decide a segment again. Raises JournalInvalid, CheckpointInvalid."""
    return replay(segment.core(), segment.entries())


def check(paths: list[Path]) -> int:
    """Decide them all again and say what came of it; the exit status."""
    status = SAME
    for path in paths:
        try:
            segment = Segment(path)
            replayed = checked(segment)
        except (JournalInvalid, CheckpointInvalid) as error:
            print(f"{path}: {error}{_of_other_code(path)}")
            status = max(status, UNREADABLE)
            continue
        told_torn = f", {segment.torn}" if segment.torn else ""
        print(f"{path}: {replayed.entries} entries, {replayed.commands} commands, ", end="")
        if replayed.crash is not None:
            print(f"and then not again{_of_other_code(path)}\n  {replayed.crash}")
            status = max(status, CRASHED)
        elif replayed.difference is None:
            print(f"the same again{told_torn}")
        else:
            print(f"not the same{_of_other_code(path)}\n  {replayed.difference}")
            status = max(status, DIFFERENT)
    return status


def _of_other_code(path: Path) -> str:
    try:
        wrote = Segment(path).beginning.code
    except JournalInvalid:
        return ""
    return "" if wrote == code_digest() else f" (written by other code: {wrote}, this is {code_digest()})"


def show(paths: list[Path], count: int) -> int:
    """Print the last `count` decisions; the exit status."""
    found: list[Told] = []
    status = SAME
    for instance in sorted({path.parent.parent for path in paths}):
        own: list[Told] = []
        for path in reversed([path for path in paths if path.parent.parent == instance]):
            try:
                own = [*told(Segment(path)), *own]
            except JournalInvalid as error:
                print(error, file=sys.stderr)
                status = UNREADABLE
            if len(own) >= count:
                break
        found += own[-count:]
    found = sorted(found, key=lambda each: each.at_us)[-count:]
    several = len({each.instance for each in found}) > 1
    for each in found:
        print(f"{each.instance}  {each}" if several else each)
    return status


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m fastgshare.scheduler.replay", description=__doc__)
    parser.add_argument("place", type=Path, help="a journal's directory, or one of its files")
    parser.add_argument("--show", type=int, metavar="N", help="print the last N decisions instead")
    options = parser.parse_args(arguments)
    paths = segments_under(options.place)
    if not paths:
        print(f"{options.place}: no journal there", file=sys.stderr)
        return UNREADABLE
    return check(paths) if options.show is None else show(paths, options.show)


if __name__ == "__main__":
    sys.exit(main())
