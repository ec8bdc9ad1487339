"""Which cores are this process's where it gets only some: such as no other process of the host has taken.

A taken core is a locked file in shared memory, which the kernel lets go of with its process. So several nodes on a
host, containers that share its memory included, take different cores while there are enough; beyond that they share.
"""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from fastgshare.shared.slots import SHARED_MEMORY


class TakenCores:
    """The numbers in `cores`, ours until `let_go`. Made by `take_cores`."""

    def __init__(self, cores: list[int], locks: list[int]) -> None:
        self.cores = cores
        self._locks = locks

    def let_go(self) -> None:
        """Others may have them."""
        while self._locks:
            os.close(self._locks.pop())


def take_cores(available: Sequence[int], wanted: int, directory: Path = SHARED_MEMORY) -> TakenCores:
    """`wanted` of the `available` cores, free ones first; all of them, untaken, where fewer are not asked for."""
    if not 0 < wanted < len(available):
        return TakenCores(list(available), [])
    locks: dict[int, int] = {}
    for core in available:
        if len(locks) < wanted and (lock := _take(directory / f"fastgshare-core-{core}.lock")) is not None:
            locks[core] = lock
    shared = [core for core in available if core not in locks]
    return TakenCores(sorted([*locks, *shared[: wanted - len(locks)]]), list(locks.values()))


def _take(path: Path) -> int | None:
    """The lock on a core's file, or None: somebody has it, or there can be no such file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
