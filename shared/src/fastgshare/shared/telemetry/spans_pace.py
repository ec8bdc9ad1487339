"""Telling what is kept beside serving requests: in short turns, and in at most a fifth of the time."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.telemetry.spans_backlog import Backlog
from fastgshare.shared.units import us_to_s

T = TypeVar("T")

LOOK_S = 0.05
TURN = 16
REST_PER_TURN = 4


async def tell_slowly(backlog: Backlog[T], tell: Callable[[list[T]], Awaitable[None]]) -> None:
    """`tell` what comes into `backlog`, until cancelled."""
    while True:
        begun_us = monotonic_us()
        items = backlog.take(TURN)
        if items:
            await tell(items)
        rest_s = REST_PER_TURN * us_to_s(monotonic_us() - begun_us)
        await anyio.sleep(rest_s if len(items) == TURN else max(rest_s, LOOK_S))


async def tell_all(backlog: Backlog[T], tell: Callable[[list[T]], Awaitable[None]]) -> None:
    """`tell` what is in `backlog` now."""
    while items := backlog.take(TURN):
        await tell(items)
