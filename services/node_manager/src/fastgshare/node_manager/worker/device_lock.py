"""One worker holds a device at a time, by a lock that the kernel frees with its process, whatever way that ends.

A manager that is killed takes its worker along, but a process may be long in ending (a driver clears a context away, a
disk does not answer), and two managers may be given one node's name. A second worker would run the same replicas on the
same chunks, and both would answer. So a worker locks its device before it opens it, and waits for a former one to end:
not for ever, since one that hangs has to be told of.
"""

import fcntl
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from fastgshare.node_manager.devices.faults import DeviceUnavailable

PATIENCE_S = 12.0
"""Longer than a worker drains, shorter than its manager bears silence."""
POLL_S = 0.02
DIRECTORY = "devices"

logger = logging.getLogger(__name__)


@asynccontextmanager
async def hold_device(device: str, data_dir: Path, patience_s: float = PATIENCE_S) -> AsyncIterator[None]:
    """Hold `device`, of which the name is unique among those that use `data_dir`.

    Raises:
        DeviceUnavailable: another process has held it for `patience_s`; says which.
    """
    directory = data_dir / DIRECTORY
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / f"{device}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _locked(descriptor):
            await _wait(descriptor, device, patience_s)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


async def _wait(descriptor: int, device: str, patience_s: float) -> None:
    holder = f"process {os.pread(descriptor, 32, 0).decode(errors='replace').strip() or 'unknown'}"
    logger.warning("device %s waits for %s, which still holds it", device, holder)
    with anyio.move_on_after(patience_s) as waiting:
        while not _locked(descriptor):
            await anyio.sleep(POLL_S)
    if waiting.cancelled_caught:
        reason = f"{holder} has held it for {patience_s:g} s more: it is an earlier worker's that does not end"
        raise DeviceUnavailable(device=device, reason=reason)
    logger.info("device %s: %s has let go of it", device, holder)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
