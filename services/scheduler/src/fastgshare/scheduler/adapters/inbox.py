"""Where events wait for the core, one per key: a newer fact takes the place of an older one about the same thing.

So it is bounded by how many things there are, loses nothing that still matters, and never makes a callback wait.
"""

from collections.abc import Hashable

import anyio

from fastgshare.scheduler.core.events import Event


class Inbox:
    """Filled by callbacks, emptied by one reader."""

    def __init__(self) -> None:
        self._events: dict[Hashable, Event] = {}
        self._filled = anyio.Event()

    def put(self, key: Hashable, event: Event) -> None:
        """Leave an event; it keeps the place in the order that an unread one of the same key had."""
        self._events[key] = event
        self._filled.set()

    def append(self, event: Event) -> None:
        """Leave an event that must not take the place of any other."""
        self.put(object(), event)

    @property
    def waiting(self) -> int:
        """How many events were left and not taken yet."""
        return len(self._events)

    async def wait(self) -> None:
        """Return once there is something to take."""
        await self._filled.wait()

    def take(self) -> list[Event]:
        """Everything that waits, in order."""
        events, self._events = list(self._events.values()), {}
        self._filled = anyio.Event()
        return events
