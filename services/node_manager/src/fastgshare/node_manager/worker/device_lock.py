"""One worker holds a device at a time, by a lock that the kernel frees with its process, whatever way that ends.

A manager that is killed takes its worker along, but a process may be long in ending (a driver clears a context away, a
disk does not answer), and two managers may be given one node's name. A second worker would run the same replicas on the
same chunks, and both would answer. So a worker locks its device before it opens it, and waits for a former one to end:
not for ever, since one that hangs has to be told of, and its manager hears meanwhile that the worker is alive.

A GPU is one thing for all of its host, whatever the node and its data directory: its lock bears its UUID and lies where
the host keeps locks. Cores are shared by everybody anyway and a `sim` device is nobody's but its node's: their locks
lie in the node's data directory. Containers that share a GPU and no directory do not see each other.
"""

import fcntl
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from fastgshare.node_manager.devices.faults import DeviceUnavailable

PATIENCE_S = 12.0
"""Longer than a worker drains."""
POLL_S = 0.02
SAY_S = 1.0
DIRECTORY = "devices"
HOST_DIRECTORY = Path("/run/lock")
"""Of the Filesystem Hierarchy Standard (3.15); where it is not ours to write, that for temporary files."""

logger = logging.getLogger(__name__)


def lock_path(device: str, data_dir: Path, gpu_uuid: str, host_directory: Path = HOST_DIRECTORY) -> Path:
    """Where the lock of a device lies; `gpu_uuid` is empty for what is no GPU."""
    if not gpu_uuid:
        return data_dir / DIRECTORY / f"{device}.lock"
    directory = host_directory if os.access(host_directory, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    return directory / f"fastgshare-{gpu_uuid}.lock"


@asynccontextmanager
async def hold_device(
    device: str, path: Path, patience_s: float = PATIENCE_S, alive: Callable[[], None] = lambda: None
) -> AsyncIterator[None]:
    """Hold `device`, whose lock is the file `path`; while it waits it says each second that it is `alive`.

    Raises:
        DeviceUnavailable: another process has held it for `patience_s`, says which; or there can be no such file.
    """
    try:
        descriptor = _open(path)
    except OSError as error:
        raise DeviceUnavailable(device=device, reason=f"its lock cannot be opened: {error}") from error
    try:
        if not _locked(descriptor):
            await _wait(descriptor, device, patience_s, alive)
        _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    """The lock's file, made if it is missing, for other users of the host as well. Raises OSError.

    One that stands is opened as it is: in a directory for everybody Linux lets nobody open another's file with
    O_CREAT (`fs.protected_regular`), and a lock needs no right to write. A link in such a directory is a trap.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for flags in (os.O_RDWR, os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_RDONLY):
        try:
            descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except (FileNotFoundError, FileExistsError, PermissionError):
            if flags == os.O_RDONLY:
                raise
        else:
            return descriptor
    raise AssertionError("the last try returns or raises")


def _sign(descriptor: int) -> None:
    """Write down who holds it, for whoever waits. Another user's file stays unsigned, a full disk costs the name."""
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        logger.info("a device's lock is not signed: %s", error)


async def _wait(descriptor: int, device: str, patience_s: float, alive: Callable[[], None]) -> None:
    holder = f"process {os.pread(descriptor, 32, 0).decode(errors='replace').strip() or 'unknown'}"
    logger.warning("device %s waits for %s, which still holds it", device, holder)
    alive()
    with anyio.move_on_after(patience_s) as waiting:
        said_s = anyio.current_time()
        while not _locked(descriptor):
            await anyio.sleep(POLL_S)
            if anyio.current_time() - said_s >= SAY_S:
                said_s = anyio.current_time()
                alive()
    alive()
    if waiting.cancelled_caught:
        reason = f"{holder} has held it for {patience_s:g} s more: it is an earlier worker's, or another node's"
        raise DeviceUnavailable(device=device, reason=reason)
    logger.info("device %s: %s has let go of it", device, holder)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
