"""`python -m fastgshare.scheduler.replay PLACE`: read the journal of a run, print its decisions or decide them again.

PLACE is a segment, a run, an instance or the whole journal directory. Exit status: 0, everything was read, and decided
the same again; 1, something was not, and the first difference of each segment is told; 2, there is no journal, or
something of it cannot be read, and what was read before that is told all the same; 3, the core failed on an entry,
which is told. The highest of these, where segments differ. 130: interrupted.
"""

import argparse
import os
import sys
from collections import deque
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
INTERRUPTED, UNHEARD = 130, 141
"""As a shell has it where SIGINT or SIGPIPE ends a command."""
GAP = "--- what was stepped through before this is lost: the disk failed or did not keep up"


class Told(NamedTuple):
    """A line of what a journal has to tell: when that was (Unix time), who tells it, and the words."""

    at_us: int
    instance: str
    words: str

    def __str__(self) -> str:
        at = datetime.fromtimestamp(us_to_s(self.at_us)).astimezone()
        return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}  {self.words}"


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
    """The commands of a segment in order, each with the event on which it was decided. Raises JournalInvalid.

    Answers to profilers' wishes are left out: they come twice a second, and loans are told when they begin and end.
    """
    start = segment.beginning
    if start.gap:
        yield Told(start.unix_us, start.instance, GAP)
    for entry in segment.entries():
        at_us = start.unix_us + entry.now_us - start.clock_us
        for command in entry.decision.commands:
            if isinstance(command, AnswerWish):
                continue
            yield Told(at_us, start.instance, f"{type(entry.event).__name__}  {words_of(command)}")


def checked(segment: Segment) -> Replayed:
    """Decide a segment again. Raises JournalInvalid, CheckpointInvalid."""
    return replay(segment.core(), segment.entries())


def check(paths: list[Path]) -> int:
    """Decide them all again and say what came of it; the exit status."""
    return max(_check_one(path) for path in paths)


def _check_one(path: Path) -> int:
    notes = ""
    try:
        segment = Segment(path)
        notes = _of_other_code(segment)
        replayed = checked(segment)
    except (JournalInvalid, CheckpointInvalid) as error:
        reason = error.reason if isinstance(error, JournalInvalid) else str(error)
        print(f"{path}: {reason}{notes}")
        return UNREADABLE
    after = ", after a gap" if segment.beginning.gap else ""
    torn = f", {segment.torn}" if segment.torn else ""
    print(f"{path}: {replayed.entries} entries, {replayed.commands} commands{after}, ", end="")
    if replayed.crash is not None:
        print(f"and then not again{notes}\n  {replayed.crash}")
        return CRASHED
    if replayed.difference is None:
        print(f"the same again{torn}{notes}")
        return SAME
    print(f"not the same{notes}\n  {replayed.difference}")
    return DIFFERENT


def _of_other_code(segment: Segment) -> str:
    wrote = segment.beginning.code
    return "" if wrote == code_digest() else f" (written by other code: {wrote}, this is {code_digest()})"


def show(paths: list[Path], count: int) -> int:
    """Print the last `count` decisions, and on standard error what could not be read; the exit status."""
    found: list[Told] = []
    status = SAME
    for instance in sorted({path.parent.parent for path in paths}):
        own: list[Told] = []
        for path in reversed([path for path in paths if path.parent.parent == instance]):
            last, how = _last_of(path, count - len(own))
            own = [*last, *own]
            status = max(status, how)
            if len(own) >= count:
                break
        found += own
    found = sorted(found, key=lambda each: each.at_us)[-count:]
    several = len({each.instance for each in found}) > 1
    for each in found:
        print(f"{each.instance}  {each}" if several else each)
    if not found:
        print(f"nothing was decided in what could be read of {len(paths)} segment(s)", file=sys.stderr)
    return status


def _last_of(path: Path, count: int) -> tuple[list[Told], int]:
    """The last `count` lines of a segment, as far as it can be read, and the exit status."""
    last: deque[Told] = deque(maxlen=count)
    try:
        segment = Segment(path)
        last.extend(told(segment))
    except JournalInvalid as error:
        print(error, file=sys.stderr)
        return list(last), UNREADABLE
    if segment.torn:
        print(f"{path}: {segment.torn}, read up to there", file=sys.stderr)
    return list(last), SAME


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m fastgshare.scheduler.replay", description=__doc__)
    parser.add_argument("place", type=Path, help="a journal's directory, or one of its files")
    parser.add_argument("--show", type=_positive, metavar="N", help="print the last N decisions instead")
    options = parser.parse_args(arguments)
    try:
        paths = segments_under(options.place)
        if not paths:
            print(f"{options.place}: no journal there", file=sys.stderr)
            return UNREADABLE
        return check(paths) if options.show is None else show(paths, options.show)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read this has had enough of it; the interpreter must not try to flush it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNHEARD


def _positive(word: str) -> int:
    if (number := int(word)) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, not {number}")
    return number


if __name__ == "__main__":
    sys.exit(main())
