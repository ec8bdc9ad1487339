"""The processes that the platform is measured against: the bare bus's responder and the FastAPI echo."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import nats
import nats.errors
from nats.aio.client import Client as Nats

from fastgshare.cli.up.ports import HOST, free_port
from fastgshare.cli.up.process import ChildSpec, spawn

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SUBJECT = "bench.raw"
START_TIMEOUT_S = 20.0
POLL_S = 0.02


@asynccontextmanager
async def raw_partner(nats_url: str, log: Path) -> AsyncIterator[Nats]:
    """A connection whose requests on SUBJECT another process echoes."""
    spec = ChildSpec(name="responder", argv=(sys.executable, str(HERE / "responder.py"), nats_url, SUBJECT))
    async with _running(spec, log):
        connection = await nats.connect(nats_url, name="bench-raw")
        try:
            with anyio.fail_after(START_TIMEOUT_S):
                while not await _echoes(connection):
                    await anyio.sleep(POLL_S)
            yield connection
        finally:
            await connection.close()


@asynccontextmanager
async def fastapi_partner(log: Path) -> AsyncIterator[int]:
    """The port of a FastAPI echo under uvicorn, with the uvloop and httptools it picks up by itself."""
    port = free_port(0)
    arguments = ("--host", HOST, "--port", str(port), "--no-access-log", "--log-level", "warning")
    spec = ChildSpec(
        name="fastapi",
        argv=(sys.executable, "-m", "uvicorn", "benchmarks.overhead.echo_app:app", *arguments),
        env={"PYTHONPATH": str(ROOT)},
    )
    async with _running(spec, log):
        with anyio.fail_after(START_TIMEOUT_S):
            while not await _listens(port):
                await anyio.sleep(POLL_S)
        yield port


@asynccontextmanager
async def _running(spec: ChildSpec, log: Path) -> AsyncIterator[None]:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        process = spawn(spec, descriptor)
    finally:
        os.close(descriptor)
    try:
        yield
    finally:
        process.send(signal.SIGKILL)
        with anyio.CancelScope(shield=True):
            await process.ended()


async def _echoes(connection: Nats) -> bool:
    try:
        return (await connection.request(SUBJECT, b"hello", timeout=1)).data == b"hello"
    except (nats.errors.NoRespondersError, nats.errors.TimeoutError):
        return False


async def _listens(port: int) -> bool:
    try:
        async with await anyio.connect_tcp(HOST, port):
            return True
    except OSError:
        return False
