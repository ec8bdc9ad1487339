"""What a replica's thread is told beside its jobs and measurements."""

from concurrent.futures import Future
from dataclasses import dataclass

from fastgshare.node_manager.core.timetable import Share
from fastgshare.shared.messages import Profile


@dataclass(frozen=True, slots=True)
class UseTable:
    """Choose batches by this table; None: by what is learned."""

    profile: Profile | None


@dataclass(frozen=True, slots=True)
class Move:
    """To other chunks, as `share` has them."""

    share: Share
    chunks: tuple[int, ...]
    done: "Future[None]"


class Unwanted:
    """A job that was submitted is not wanted any more."""


class Stop:
    """End, once everybody who waits has an answer."""


def promise() -> "Future[None]":
    """Nobody who stops waiting for it can cancel it."""
    made: Future[None] = Future()
    made.set_running_or_notify_cancel()
    return made
