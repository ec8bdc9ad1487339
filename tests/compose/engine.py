"""The compose files on a real container engine, as a project of its own that leaves nothing behind."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PUBLISHED = ("HTTP", "GRPC", "NATS", "NATS2", "NATS3")
CALL_S = 180.0
BUILD_S = 1800.0
UP_S = 300.0
STANDS = ("--wait", "--wait-timeout", str(int(UP_S)))
BUILD_VARIABLE = "COMPOSE_TEST_BUILD"
"""`0` takes the images that are there."""
PREPARE = "start Docker with Compose v2 and BuildKit, or set DOCKER_HOST"


class Composed:
    """A project. Made by `composed`."""

    def __init__(self, project: str, files: tuple[str, ...]) -> None:
        self.project = project
        self._options = [option for file in files for option in ("-f", str(ROOT / file))]
        self._env = {**os.environ, **_free_ports()}

    def run(self, *args: str, timeout_s: float = CALL_S) -> str:
        """`docker compose ...`; what it printed."""
        return _docker("compose", "-p", self.project, *self._options, *args, timeout_s=timeout_s, env=self._env)

    def build(self) -> None:
        """Every image, those of the tools included."""
        self.run("--profile", "tools", "build", "--quiet", timeout_s=BUILD_S)

    def up(self, *options: str) -> float:
        """Start what is not there and wait until all is healthy; how long that took, in seconds."""
        began_s = time.monotonic()
        try:
            self.run("up", "--detach", "--no-build", *STANDS, *options, timeout_s=UP_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.run('ps', '--all')}\n{self.logs()}") from None
        return time.monotonic() - began_s

    def ids(self, service: str = "") -> list[str]:
        """The containers that run, of one service or of all."""
        return self.run("ps", "--quiet", *filter(None, [service])).split()

    def address(self, service: str, port: int) -> str:
        """HOST:PORT where a service's port is published."""
        return self.run("port", service, str(port)).strip()

    def inside(self, container: str, *command: str) -> str:
        """What a command prints in a container."""
        return _docker("exec", container, *command)

    def crash(self, container: str) -> None:
        """Kill what runs in it, as a fault would: the engine sees it die and starts it again."""
        began = self.inspect(container)["State"]["StartedAt"]
        subprocess.run(["docker", "exec", container, "sh", "-c", "kill -9 -1"], capture_output=True, timeout=CALL_S)
        self.until(container, lambda state: state["StartedAt"] != began and state["Health"]["Status"] == "healthy")

    def until(self, container: str, holds: Any) -> None:
        """Wait until its state is as wanted."""
        deadline_s = time.monotonic() + UP_S
        while not holds(self.inspect(container)["State"]):
            assert time.monotonic() < deadline_s, f"{self.inspect(container)['State']}\n{self.logs()}"
            time.sleep(0.2)

    def inspect(self, container: str) -> dict[str, Any]:
        """Everything the engine knows of a container."""
        (found,) = json.loads(_docker("inspect", container))
        return dict(found)

    @contextmanager
    def cut_off(self, container: str) -> Iterator[None]:
        """A container without a network."""
        network = f"{self.project}_default"
        alias = self.inspect(container)["Config"]["Labels"]["com.docker.compose.service"]
        _docker("network", "disconnect", "--force", network, container)
        try:
            yield
        finally:
            _docker("network", "connect", "--alias", alias, network, container)

    def password(self, user: str) -> str:
        """A user's password on the bus, out of its volume."""
        volume = f"{self.project}_credentials-{user}:/run/credentials:ro"
        image = self.inspect(self.ids("nats")[0])["Image"]
        return _docker("run", "--rm", "-v", volume, "--entrypoint", "cat", image, "/run/credentials/password").strip()

    def logs(self) -> str:
        """The last words of each service."""
        return self.run("logs", "--tail", "30", "--no-color")

    def down(self) -> None:
        """Remove containers, networks and volumes."""
        self.run("--profile", "tools", "down", "--volumes", "--timeout", "5")


@contextmanager
def composed(project: str, *files: str) -> Iterator[Composed]:
    """A built project, not started; afterwards nothing of it is left but images. Fails without an engine."""
    if shutil.which("docker") is None:
        pytest.fail(f"no docker on PATH: {PREPARE}", pytrace=False)
    try:
        _docker("info", timeout_s=30.0)
        _docker("compose", "version", timeout_s=30.0)
    except AssertionError as error:
        pytest.fail(f"{error}: {PREPARE}", pytrace=False)
    made = Composed(f"{project}-{os.getpid()}", files)
    try:
        if os.environ.get(BUILD_VARIABLE) != "0":
            made.build()
        yield made
    finally:
        made.down()


def _free_ports() -> dict[str, str]:
    """A port for each that is published; the engine's own choice would change when a container starts again."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PUBLISHED]
        ports = [str(found.getsockname()[1]) for found in sockets]
    return {f"FASTGSHARE_{name}_PORT": port for name, port in zip(PUBLISHED, ports, strict=True)}


def image_bytes(image: str) -> tuple[int, int]:
    """An image's size, and how much of it is on top of the base image, in bytes."""
    size = int(json.loads(_docker("image", "inspect", image))[0]["Size"])
    base = os.environ.get("PYTHON_IMAGE", "python:3.11-slim")
    return size, size - int(json.loads(_docker("image", "inspect", base))[0]["Size"])


def _docker(*args: str, timeout_s: float = CALL_S, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(["docker", *args], capture_output=True, text=True, timeout=timeout_s, env=env)
    assert done.returncode == 0, f"docker {' '.join(args)}: {done.stderr[-4000:]}"
    return done.stdout
