"""The NATS server that comes with the platform: its binary, its configuration, and when it listens.

It is bound to the loopback address and keeps its port over restarts, so that clients find it again.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import anyio

from fastgshare.cli.up.errors import NatsServerMissing
from fastgshare.cli.up.ports import HOST
from fastgshare.cli.up.process import ChildSpec

NAME = "nats"
BINARY = "nats-server"
MAX_PAYLOAD_BYTES = 8 << 20
# A reader may lag by this much before the server drops it: 32 of the largest messages.
MAX_PENDING_BYTES = 256 << 20
POLL_S = 0.01


def find_server() -> Path:
    """The binary beside this interpreter, or on PATH. Raises NatsServerMissing."""
    beside = Path(sys.executable).with_name(BINARY)
    if os.access(beside, os.X_OK):
        return beside
    on_path = shutil.which(BINARY)
    if on_path is None:
        raise NatsServerMissing(looked=f"neither {beside} nor {BINARY} on PATH")
    return Path(on_path)


def server_config(port: int, store: Path) -> str:
    """The configuration file's text."""
    return f"""\
# Written by `fastgshare up` at each start.
server_name: fastgshare
listen: "{HOST}:{port}"
max_payload: {MAX_PAYLOAD_BYTES}
max_pending: {MAX_PENDING_BYTES}
jetstream {{
  store_dir: {json.dumps(str(store))}
}}
"""


def server_spec(data_dir: Path, port: int) -> ChildSpec:
    """Write the configuration into `data_dir` and tell how to run the server. Raises NatsServerMissing."""
    binary = find_server()
    config = data_dir / "nats.conf"
    config.write_text(server_config(port, data_dir / "nats"))
    return ChildSpec(name=NAME, argv=(str(binary), "-c", str(config)))


async def listening(port: int) -> None:
    """Wait until a NATS server greets on the port: JetStream has recovered by then."""
    while not await _greets(port):
        await anyio.sleep(POLL_S)


async def _greets(port: int) -> bool:
    try:
        async with await anyio.connect_tcp(HOST, port) as stream:
            return (await stream.receive()).startswith(b"INFO ")
    except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
        return False
