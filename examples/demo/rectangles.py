"""Who was promised how much of the device, second by second, as stacked bands of letters, a block for each chunk. Pure.

What is looked at is what replicas hold: their chunks, and of those chunks' time their `quota_request`.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from fastgshare.shared.messages import ReplicaState, ReplicaStatus
from fastgshare.shared.units import US_PER_S

BANDS = 10
FREE = "·"


class Held(msgspec.Struct, frozen=True):
    """What one replica had at one moment: `quota` of the time of each of `chunks`."""

    function: str
    replica: str
    device: str
    chunks: tuple[int, ...]
    quota: float


class Moment(msgspec.Struct, frozen=True):
    """What all replicas that could take requests had, so long after the load's begin."""

    at_us: int
    held: tuple[Held, ...]


def moment(at_us: int, replicas: Iterable[ReplicaStatus]) -> Moment:
    """What is held now; loans are promised nothing, and what loads or has failed serves nobody."""
    serving = [each for each in replicas if each.state is ReplicaState.READY and not each.loan]
    held = tuple(
        Held(each.function, each.replica, each.device, each.chunks, each.slice.quota_request)
        for each in sorted(serving, key=lambda each: (each.function, each.replica))
        if each.slice is not None
    )
    return Moment(at_us, held)


def letters(functions: Sequence[str]) -> dict[str, str]:
    """A letter for each function: its first that no earlier one has, else a digit."""
    found: dict[str, str] = {}
    for number, function in enumerate(functions):
        free = [letter for letter in function.upper() if letter.isalpha() and letter not in found.values()]
        found[function] = free[0] if free else str(number % BANDS)
    return found


def bands(moments: Sequence[Moment], seconds: float, functions: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """By chunk (`device chunk`), `BANDS` lines of a column a second; the lowest band is the last line.

    A band is a tenth of the chunk's time, given to the function whose share covers its middle.
    """
    columns = [_at(moments, second) for second in range(max(1, -int(-seconds // 1)))]
    chunks = sorted({(held.device, chunk) for held in _all(moments) for chunk in held.chunks})
    letter = letters(functions)
    return {
        f"{device} {chunk}": tuple(
            "".join(_band(column, device, chunk, band, letter) for column in columns) for band in reversed(range(BANDS))
        )
        for device, chunk in chunks
    }


def changes(moments: Sequence[Moment]) -> dict[str, tuple[int, int, int]]:
    """By function: the most replicas at a time, how often one came or went, how often a slice changed in place."""
    found: dict[str, tuple[int, int, int]] = {}
    for before, after in zip([None, *moments], moments, strict=False):
        was = {held.replica: held for held in before.held} if before is not None else {}
        now = {held.replica: held for held in after.held}
        for function in sorted({held.function for held in (*was.values(), *now.values())}):
            most, moved, resized = found.get(function, (0, 0, 0))
            here = [held for held in now.values() if held.function == function]
            gone = [held for held in was.values() if held.function == function and held.replica not in now]
            come = [held for held in here if held.replica not in was]
            changed = [held for held in here if held.replica in was and held != was[held.replica]]
            moved += len(gone) + len(come) if before is not None else 0
            found[function] = (max(most, len(here)), moved, resized + len(changed))
    return found


def _all(moments: Sequence[Moment]) -> list[Held]:
    return [held for each in moments for held in each.held]


def _at(moments: Sequence[Moment], second: int) -> tuple[Held, ...]:
    """What was held in the middle of a second: what was seen last before it, or first of all."""
    middle_us = second * US_PER_S + US_PER_S // 2
    seen = [each for each in moments if each.at_us <= middle_us] or list(moments[:1])
    return seen[-1].held if seen else ()


def _band(column: Iterable[Held], device: str, chunk: int, band: int, letter: Mapping[str, str]) -> str:
    middle = (band + 0.5) / BANDS
    reached = 0.0
    for held in column:
        if held.device == device and chunk in held.chunks:
            reached += held.quota
            if middle < reached:
                return letter.get(held.function, "?")
    return FREE
