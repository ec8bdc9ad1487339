"""The data directory: whose it is right now, and where others find the platform that lives on it."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from fastgshare.cli.up.errors import DataDirBusy
from fastgshare.client.location import ENDPOINTS_FILE

LOCK = "up.lock"


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """Where a running platform is reached; `pid` is its `fastgshare up`; a gRPC address is `host:port`."""

    nats_url: str
    http_url: str
    pid: int
    version: str
    http_urls: list[str] = []
    grpc_addresses: list[str] = []


@contextmanager
def hold_data_dir(data_dir: Path) -> Iterator[None]:
    """Make the directory and own it; the kernel frees it whatever way we end.

    Raises:
        DataDirBusy: somebody else owns it.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            raise DataDirBusy(data_dir=data_dir, pid=owner or "unknown") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def published(endpoints: Endpoints, data_dir: Path) -> Iterator[None]:
    """`endpoints.json` stands while this is open, always whole."""
    target = data_dir / ENDPOINTS_FILE
    handle, partial = tempfile.mkstemp(dir=data_dir, prefix=".endpoints-")
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(endpoints)) + b"\n")
    os.chmod(partial, 0o644)
    os.replace(partial, target)
    try:
        yield
    finally:
        target.unlink(missing_ok=True)


def forget_endpoints(data_dir: Path) -> None:
    """Remove what a run that was killed left standing."""
    (data_dir / ENDPOINTS_FILE).unlink(missing_ok=True)
