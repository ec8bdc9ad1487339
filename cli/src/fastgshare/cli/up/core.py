"""When a child starts again and when it is given up: plain data in, decisions out, time as an argument.

A child that was ready once starts again for ever, later and later while it keeps dying; one that dies over
and over without ever having been ready is broken, and no restart will mend it.
"""

from enum import StrEnum

import msgspec

from fastgshare.shared.units import US_PER_MS, US_PER_S


class Phase(StrEnum):
    """Where a child is in its present life."""

    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"
    HOPELESS = "hopeless"


class Policy(msgspec.Struct, frozen=True):
    """Waits between lives double from `first_wait_us` to `longest_wait_us`, anew after a life of `stable_us`.

    `hopeless_exits` short lives in a row, none of them ever ready, end the attempt.
    """

    first_wait_us: int = 100 * US_PER_MS
    longest_wait_us: int = 5 * US_PER_S
    stable_us: int = 10 * US_PER_S
    hopeless_exits: int = 5


class ChildState(msgspec.Struct, frozen=True):
    """What is known of one child: `short_lives` counts exits in a row, `ever_ready` spans all its lives."""

    phase: Phase = Phase.WAITING
    started_us: int = 0
    ever_ready: bool = False
    short_lives: int = 0


class StartAgain(msgspec.Struct, frozen=True):
    """Start the child when the clock shows `at_us`."""

    at_us: int


class GiveUp(msgspec.Struct, frozen=True):
    """Stop everything: this child cannot start; it tried `exits` times."""

    exits: int


def started(state: ChildState, now_us: int) -> ChildState:
    """A process was made."""
    return msgspec.structs.replace(state, phase=Phase.STARTING, started_us=now_us)


def became_ready(state: ChildState) -> ChildState:
    """The process said that it serves."""
    return msgspec.structs.replace(state, phase=Phase.READY, ever_ready=True)


def condemned(state: ChildState) -> ChildState:
    """The process was sent SIGKILL: it serves no more, though nobody has seen it end yet."""
    return msgspec.structs.replace(state, phase=Phase.WAITING)


def exited(policy: Policy, state: ChildState, now_us: int) -> tuple[ChildState, StartAgain | GiveUp]:
    """The process ended without being asked to."""
    lived_us = now_us - state.started_us
    short_lives = 1 if lived_us >= policy.stable_us else state.short_lives + 1
    if not state.ever_ready and short_lives >= policy.hopeless_exits:
        return _after(state, Phase.HOPELESS, short_lives), GiveUp(exits=short_lives)
    wait_us = min(policy.first_wait_us << (short_lives - 1), policy.longest_wait_us)
    return _after(state, Phase.WAITING, short_lives), StartAgain(at_us=now_us + wait_us)


def _after(state: ChildState, phase: Phase, short_lives: int) -> ChildState:
    return msgspec.structs.replace(state, phase=phase, short_lives=short_lives)
