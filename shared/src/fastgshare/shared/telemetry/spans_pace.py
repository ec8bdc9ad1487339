"""Telling what is kept beside serving requests: in short turns, in a fifth of the time, in half of it under pressure.

Where it goes to may ask for a pause, and what is to be told waits in its backlog.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import anyio.lowlevel

from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.telemetry.spans_backlog import Backlog
from fastgshare.shared.units import us_to_s

T = TypeVar("T")

LOOK_S = 0.05
TURN = 16
REST_PER_TURN = 4
REST_UNDER_PRESSURE = 1


def _always() -> bool:
    return True


async def tell_slowly(
    backlog: Backlog[T], tell: Callable[[list[T]], Awaitable[None]], may_tell: Callable[[], bool] = _always
) -> None:
    """`tell` what comes into `backlog` while that is welcome, until cancelled."""
    while True:
        begun_us = monotonic_us()
        items = backlog.take(TURN) if may_tell() else []
        if items:
            await tell(items)
        rest = REST_UNDER_PRESSURE if backlog.is_pressing else REST_PER_TURN
        rest_s = rest * us_to_s(monotonic_us() - begun_us)
        await anyio.sleep(rest_s if len(items) == TURN else max(rest_s, LOOK_S))


async def tell_all(
    backlog: Backlog[T], tell: Callable[[list[T]], Awaitable[None]], may_tell: Callable[[], bool] = _always
) -> None:
    """`tell` what is in `backlog` now, while that is welcome."""
    while may_tell() and (items := backlog.take(TURN)):
        await tell(items)
        await anyio.lowlevel.checkpoint()  # so that a deadline can end it
