"""A real nats-server with JetStream for tests: killed and restarted at will, on one port and one store.

The server itself picks the port at its first start and tells it in its ports file: no race for it.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from fastgshare.shared.children import die_with_parent

BINARY = Path(sys.executable).with_name("nats-server")
MAX_PAYLOAD_BYTES = 8 << 20
START_TIMEOUT_S = 20.0
POLL_S = 0.005
TAKEN_S = 0.1
ANY_PORT = -1

CONFIG = """
listen: "127.0.0.1:{port}"
max_payload: {max_payload}
ports_file_dir: "{directory}"
jetstream {{ store_dir: "{directory}/store" }}
"""


class Natsd:
    """One server that keeps its port and its store between `kill` and `restart`. Made by `run_natsd`."""

    def __init__(self, directory: Path, more: str, env: Mapping[str, str]) -> None:
        self.port = ANY_PORT
        self._directory = directory
        self._more = more
        self._env = {**os.environ, **env}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect; stays the same over restarts."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The running server's process, or None while it is down."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start and wait until it accepts connections."""
        for stale in self._directory.glob("*.ports"):
            stale.unlink()
        config = self._directory / "nats.conf"
        text = CONFIG.format(port=self.port, max_payload=MAX_PAYLOAD_BYTES, directory=self._directory)
        config.write_text(text + self._more)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while (port := self._listening(config, deadline_s)) is None:
            # Its former port may be somebody's outgoing connection for a moment: a client's that tried to come back.
            if time.monotonic() > deadline_s or "address already in use" not in self.log():
                raise RuntimeError(f"nats-server did not start:\n{self.log()}")
            time.sleep(TAKEN_S)
        self.port = port

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone. Fine when it is down already."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Start again (killing first what still runs) on the same port with the same store."""
        self.kill()
        self.start()

    def log(self) -> str:
        """Everything the server has written."""
        return (self._directory / "nats.log").read_text()

    def _listening(self, config: Path, deadline_s: float) -> int | None:
        """The port of a process that was started for this; None where it ended or said nothing."""
        with (self._directory / "nats.log").open("ab") as log:
            self._process = process = subprocess.Popen(
                [BINARY, "-c", config],
                stdout=log,
                stderr=log,
                env=self._env,
                preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509  # nothing else outlives SIGKILL
            )
        ports = self._directory / f"{BINARY.name}_{process.pid}.ports"
        while time.monotonic() < deadline_s and process.poll() is None:
            try:
                listening = json.loads(ports.read_text())["nats"]
            except (FileNotFoundError, json.JSONDecodeError):  # not there, or half written
                time.sleep(POLL_S)
                continue
            return urlsplit(listening[0]).port or 0
        return None


@contextmanager
def run_natsd(directory: Path, more: str = "", env: Mapping[str, str] | None = None) -> Iterator[Natsd]:
    """A running server whose files lie in `directory`; `more` configuration, which may use variables of `env`."""
    server = Natsd(directory, more, env or {})
    try:
        server.start()
        yield server
    finally:
        server.kill()
