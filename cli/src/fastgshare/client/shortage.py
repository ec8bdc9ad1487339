"""What the scheduler last said about there being no room for a function.

It says so once, not at each attempt, and what it said stands while the generation does: a later change of the
number of replicas alone is not answered with another event.
"""

from typing import NamedTuple

from fastgshare.client.logs import Kept, last_kept
from fastgshare.shared.buckets import StorageUnavailable
from fastgshare.shared.bus import Bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.ids import FunctionName, is_name
from fastgshare.shared.units import us_to_s

KIND = "no_room"
_DEFINED = "function_defined"


class Before(NamedTuple):
    """What had been told before a function was changed."""

    defined: Kept | None = None
    no_room: Kept | None = None

    def concerns(self, kept: Kept, generation: int) -> bool:
        """Whether a shortage that was told is one of `generation`."""
        if self.defined is not None and self.defined.event.fields.get("generation") == generation:
            return kept.position > self.defined.position
        return self.no_room is None or kept.position > self.no_room.position


async def told_before(bus: Bus, function: FunctionName) -> Before:
    """To be asked before a change. Nothing where nothing can be had: the change itself will say so."""
    if not is_name(function):
        return Before()
    try:
        return Before(await last_kept(bus, function, _DEFINED), await last_kept(bus, function, KIND))
    except StorageUnavailable:
        return Before()


async def last_shortage(bus: Bus, function: FunctionName) -> Kept | None:
    """The newest that was told; None as well where it cannot be had."""
    try:
        return await last_kept(bus, function, KIND)
    except StorageUnavailable:
        return None


def in_words(kept: Kept) -> str:
    """A shortage for a person, with its age: room may have come since."""
    age_s = us_to_s(max(0, unix_us() - kept.event.at_us))
    return f"no room for more, told {age_s:.0f} s ago: {kept.event.text}"
