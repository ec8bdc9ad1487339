"""Whether processes live, conditions to wait for, and the event loop that services run on."""

import functools
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import ParamSpec

import anyio

P = ParamSpec("P")
LIMIT_S = 20.0


def on_uvloop(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run an async test on uvloop."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        anyio.run(lambda: test(*args, **kwargs), backend_options={"use_uvloop": True})

    return run


def alive(pid: int) -> bool:
    """Whether a process runs; a dead one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    with anyio.fail_after(LIMIT_S):
        while not condition():
            await anyio.sleep(0.005)


def until_dead(pid: int) -> None:
    """Wait for a process to end, outside an event loop."""
    give_up_s = time.monotonic() + LIMIT_S
    while alive(pid):
        assert time.monotonic() < give_up_s, f"process {pid} still runs"
        time.sleep(0.005)


def until_true(condition: Callable[[], object]) -> None:
    """Wait for a condition, outside an event loop."""
    give_up_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < give_up_s, "it did not come"
        time.sleep(0.005)
