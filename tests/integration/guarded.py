"""A platform on a bus with users: every service of it in a process of its own, under its own user's name."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fastgshare.shared.rights import RIGHTS
from tests.integration.world import PROFILER_SETTINGS, wait_until
from tests.natsd import Natsd, run_natsd

USERS_CONF = Path(__file__).parents[2] / "compose" / "nats" / "users.conf"
SERVICES = {"gateway": "gateway", "scheduler": "scheduler", "profiler": "profiler", "node": "node_manager"}
"""Program by user."""
STOP_S = 30.0


class Guarded:
    """Where it is and who may come in. Made by `guarded_platform`."""

    def __init__(self, nats: Natsd, directory: Path) -> None:
        self.nats = nats
        self._directory = directory

    def url(self, user: str) -> str:
        """The bus, as this user, without a password."""
        return self.nats.url.replace("//", f"//{user}@")

    def password_file(self, user: str) -> str:
        """The user's password, as compose gives it to a container."""
        return str(self._directory / f"{user}.password")

    def env(self, user: str, **settings: str) -> dict[str, str]:
        """What a process of this user is started with."""
        own = {"nats_url": self.url(user), "nats_password_file": self.password_file(user), **settings}
        return {**os.environ, **PROFILER_SETTINGS, **{f"FASTGSHARE_{key.upper()}": own[key] for key in own}}

    def log(self) -> str:
        """What the server and the services have written."""
        logs = [self.nats.log(), *(file.read_text(errors="replace") for file in self._directory.glob("*.log"))]
        return "\n".join(logs)

    @contextmanager
    def running(self, user: str, program: str) -> Iterator[None]:
        """A service, from when it is ready until it has ended in order."""
        healthy = self._directory / f"{program}.healthy"
        env = self.env(
            user,
            health_file=str(healthy),
            http_port="0",
            instance="",
            usage_interval_s="1",
            data_dir=str(self._directory),
        )
        with (self._directory / f"{program}.log").open("ab") as log:
            argv = [sys.executable, "-m", f"fastgshare.{program}"]
            process = subprocess.Popen(argv, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            wait_until(lambda: healthy.exists() or process.poll() is not None)
            assert process.poll() is None, self.log()
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(STOP_S) == 0, self.log()
        finally:
            process.kill()
            process.wait()


@contextmanager
def guarded_bus(directory: Path) -> Iterator[Guarded]:
    """A server with the users of compose/nats/users.conf, and everything that JetStream keeps, made by its own user."""
    passwords = {user: f"secret-of-{user}" for user in RIGHTS}
    for user, password in passwords.items():
        (directory / f"{user}.password").write_text(password + "\n")
    env = {f"NATS_{user.upper()}_PASSWORD": json.dumps(password) for user, password in passwords.items()}
    with run_natsd(directory, USERS_CONF.read_text(), env) as nats:
        guarded = Guarded(nats, directory)
        argv = [sys.executable, "-m", "fastgshare.shared.provision"]
        subprocess.run(argv, env=guarded.env("provision"), check=True, timeout=STOP_S)
        yield guarded


@contextmanager
def guarded_platform(directory: Path) -> Iterator[Guarded]:
    """All of it; afterwards nobody has been refused anything on the way."""
    with guarded_bus(directory) as guarded:
        with ExitStack() as services:
            for user, program in SERVICES.items():
                services.enter_context(guarded.running(user, program))
            yield guarded
        assert " Violation - " not in guarded.nats.log(), guarded.nats.log()
