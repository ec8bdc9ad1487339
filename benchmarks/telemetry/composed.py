"""How long `docker compose up --wait` takes from images that are built to every container healthy, in seconds.

Under a project name of its own, removed with its volumes afterwards. Where there is no engine, or the images have not
been built, there is no figure but a reason.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "fastgshare-bench"
PATIENCE_S = 120.0


def up_s() -> tuple[float | None, str]:
    """Seconds and an empty reason, or None and why."""
    if shutil.which("docker") is None:
        return None, "there is no docker here"
    engine = _compose("version")
    if engine.returncode:
        return None, "there is no docker compose here"
    if subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=PATIENCE_S).returncode:
        return None, "no container engine answers"
    if _compose("create", "--no-build", "--pull", "never").returncode:
        _compose("down", "--volumes", "--remove-orphans")
        return None, "the images are not built: make test-compose builds them"
    _compose("down", "--volumes", "--remove-orphans")
    try:
        begun = time.perf_counter()
        started = _compose("up", "--detach", "--wait", "--no-build", "--pull", "never")
        took_s = round(time.perf_counter() - begun, 1)
        return (took_s, "") if started.returncode == 0 else (None, started.stderr.strip().splitlines()[-1])
    finally:
        _compose("down", "--volumes", "--remove-orphans")


def _compose(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = ["docker", "compose", "--project-name", PROJECT, *arguments]
    environment = {**os.environ, **{f"FASTGSHARE_{door}_PORT": "0" for door in ("HTTP", "GRPC", "NATS")}}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
