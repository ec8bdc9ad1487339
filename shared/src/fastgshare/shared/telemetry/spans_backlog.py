"""What waits to be told, bounded: where there is no room the newcomer is dropped and counted.

What is nice to know may take a quarter of the room, so that what must be known finds some. Safe to fill from one
thread and empty from another.
"""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

ROOM = 16_384


class Backlog(Generic[T]):
    """At most `room` items, oldest first."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._waiting: deque[T] = deque()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_pressing(self) -> bool:
        """Whether what is nice to know finds no room any more."""
        return len(self._waiting) >= self._room // 4

    def has_room(self, matters: bool) -> bool:
        """Whether another may be put; if not it counts as dropped, and need not be made at all."""
        if len(self._waiting) < (self._room if matters else self._room // 4):
            return True
        self.dropped += 1
        return False

    def put(self, item: T) -> None:
        """One more; after `has_room`."""
        self._waiting.append(item)

    def take(self, most: int) -> list[T]:
        """Remove and return the oldest."""
        return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
