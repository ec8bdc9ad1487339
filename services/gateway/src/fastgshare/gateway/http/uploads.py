"""Content that is stored by digest: a body of any size, written to a file as it comes, never held in memory.

The file has no name, so however its gateway ends, the room that it takes is given back.
"""

import errno
import logging
import os
import stat
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread

from fastgshare.gateway.http.body import Receive
from fastgshare.gateway.http.errors import CallerGone, HttpRefused, too_large
from fastgshare.gateway.http.settings import HttpSettings
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused

_RETRY_AFTER_MS = 2000
_WRITE_BYTES = 1 << 20
_INSUFFICIENT_STORAGE = 507
_FULL = (errno.ENOSPC, errno.EDQUOT)
_PREFIX = "fastgshare-upload-"
STALE_S = 3600.0

logger = logging.getLogger(__name__)


class Uploads:
    """A bounded number of uploads at one time."""

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._running = 0

    @asynccontextmanager
    async def receive(self, receive: Receive) -> AsyncIterator[tuple[Path, int]]:
        """The body in a file that has a path within this process alone, and its size.

        Raises:
            RequestRefused: too many uploads run.
            HttpRefused: too large, empty, it stopped coming, or there is no room for it.
            CallerGone: the connection was lost on the way.
        """
        if self._running >= self._settings.max_uploads:
            message = f"{self._running} uploads are running, the limit is {self._settings.max_uploads}"
            raise RequestRefused(ErrorBody(ErrorCode.UNAVAILABLE, message, _RETRY_AFTER_MS))
        self._running += 1
        try:
            descriptor = _unnamed_file(self._settings.upload_directory)
            try:
                yield Path(f"/proc/self/fd/{descriptor}"), await self._write(receive, descriptor)
            finally:
                os.close(descriptor)
        finally:
            self._running -= 1

    async def _write(self, receive: Receive, descriptor: int) -> int:
        size_bytes = 0
        pending = bytearray()
        while True:
            chunk, more = await self._next(receive)
            size_bytes += len(chunk)
            if size_bytes > self._settings.max_model_bytes:
                raise too_large(self._settings.max_model_bytes)
            pending += chunk
            if len(pending) >= _WRITE_BYTES or not more:
                await self._keep(descriptor, bytes(pending))
                pending.clear()
            if not more:
                break
        if size_bytes == 0:
            raise HttpRefused(400, "the body is empty, expected a file's content")
        return size_bytes

    async def _keep(self, descriptor: int, data: bytes) -> None:
        try:
            await anyio.to_thread.run_sync(_write_all, descriptor, data)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            where = f"{self._settings.upload_directory} (FASTGSHARE_UPLOAD_DIR of the gateway)"
            raise HttpRefused(_INSUFFICIENT_STORAGE, f"there is no room for the body in {where}") from error

    async def _next(self, receive: Receive) -> tuple[bytes, bool]:
        timeout_s = self._settings.body_timeout_s
        try:
            with anyio.fail_after(timeout_s):
                message = await receive()
        except TimeoutError:
            raise HttpRefused(408, f"nothing of the body came for {timeout_s:g} s") from None
        if message["type"] != "http.request":
            raise CallerGone
        return message.get("body", b""), message.get("more_body", False)


def sweep_uploads(directory: Path, now_s: float) -> list[str]:
    """Remove what gateways that were killed left there by name: this user's own, and too old to be still on its way."""
    swept: list[str] = []
    for path in sorted(directory.glob(f"{_PREFIX}*")):
        try:
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid() or found.st_mtime > now_s - STALE_S:
                continue
            path.unlink()
            swept.append(path.name)
        except OSError as error:  # another gateway was quicker, or it is not ours to remove
            logger.info("upload %s not removed: %s", path.name, error.strerror)
    return swept


def _unnamed_file(directory: str) -> int:
    descriptor, name = tempfile.mkstemp(prefix=_PREFIX, dir=directory)
    os.unlink(name)
    return descriptor


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
