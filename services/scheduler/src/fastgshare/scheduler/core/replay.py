"""A life of the core lived again: the same events at the same times, and where the decisions differ from those of then.

Pure: it steps a core from a beginning through entries, whoever wrote them down, and compares. The first difference
ends it: all that comes after it was decided on another belief.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from fastgshare.scheduler.core.commands import Decision
from fastgshare.scheduler.core.events import Event
from fastgshare.scheduler.core.scheduler import Scheduler


class Entry(msgspec.Struct, frozen=True):
    """One step: at `now_us` (the clock of the life it comes from) the core was told `event` and decided this."""

    now_us: int
    event: Event
    decision: Decision


class Difference(NamedTuple):
    """The entry `after` so many that were decided alike, and what the core decides at it now."""

    after: int
    entry: Entry
    now: Decision

    def __str__(self) -> str:
        then, now = self.entry.decision, self.now
        place = f"after {self.after} entries, at {self.entry.now_us} us, {self.entry.event}"
        for number, (old, new) in enumerate(zip(then.commands, now.commands, strict=False)):
            if old != new:
                return f"{place}: command {number} was {old} and is {new} now"
        if len(then.commands) != len(now.commands):
            longer, word = (then, "gone") if len(then.commands) > len(now.commands) else (now, "new")
            left = longer.commands[min(len(then.commands), len(now.commands))]
            return f"{place}: {len(then.commands)} commands then and {len(now.commands)} now, {word} is {left}"
        return f"{place}: the next tick was wished at {then.wake_at_us} and is at {now.wake_at_us} now"


class Crash(NamedTuple):
    """The entry `after` so many that were decided alike, at which the core fails instead of deciding, and how."""

    after: int
    entry: Entry
    error: str

    def __str__(self) -> str:
        place = f"after {self.after} entries, at {self.entry.now_us} us, {self.entry.event}"
        return f"{place}: the core fails with {self.error}"


class Replayed(NamedTuple):
    """How many entries were gone through, how many commands among them, and what ended it if not the last of them."""

    entries: int
    commands: int
    difference: Difference | None
    crash: Crash | None = None


def replay(core: Scheduler, entries: Iterable[Entry]) -> Replayed:
    """Step `core`, which stands where the first of `entries` found it, through them all.

    It ends with the first difference, or where the core fails.
    """
    alike = commands = 0
    for entry in entries:
        try:
            now = core.step(entry.now_us, entry.event)
        except Exception as error:  # whatever ended the life of then is what is looked for
            return Replayed(alike + 1, commands, None, Crash(alike, entry, f"{type(error).__name__}: {error}"))
        if now != entry.decision:
            return Replayed(alike + 1, commands, Difference(alike, entry, now))
        alike += 1
        commands += len(now.commands)
    return Replayed(alike, commands, None)
