"""How long `docker compose up --wait` takes from images that are built to every container healthy, in seconds.

Under a project name of its own, removed with its volumes afterwards. Where there is no engine, where the images have
not been built, or where it takes longer than it may, there is no figure but a reason.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "fastgshare-bench"
ASK_S = 10.0
DOWN_S = 60.0


def up_s(patience_s: float) -> tuple[float | None, str]:
    """Seconds and an empty reason, or None and why."""
    if shutil.which("docker") is None:
        return None, "there is no docker here"
    try:
        return _measured(patience_s)
    except subprocess.TimeoutExpired as error:
        return None, f"docker took longer than {error.timeout:g} s"


def _measured(patience_s: float) -> tuple[float | None, str]:
    images = _compose("config", "--images", patience_s=ASK_S)
    if images.returncode:
        return None, "there is no docker compose here"
    names = sorted({name for name in images.stdout.split() if name.startswith("fastgshare/")})
    standing = _docker("image", "inspect", *names, patience_s=ASK_S)
    if standing.returncode:
        return None, "no container engine answers, or the images are not built: make test-compose builds them"
    try:
        begun = time.perf_counter()
        started = _compose("up", "--detach", "--wait", "--no-build", "--pull", "never", patience_s=patience_s)
        took_s = round(time.perf_counter() - begun, 1)
        return (took_s, "") if not started.returncode else (None, _last_words(started))
    finally:
        _compose("down", "--volumes", "--remove-orphans", "--timeout", "1", patience_s=DOWN_S)


def _last_words(ended: "subprocess.CompletedProcess[str]") -> str:
    lines = ended.stderr.strip().splitlines()
    return lines[-1] if lines else f"docker compose ended with {ended.returncode}"


def _compose(*arguments: str, patience_s: float) -> "subprocess.CompletedProcess[str]":
    return _docker("compose", "--project-name", PROJECT, *arguments, patience_s=patience_s)


def _docker(*arguments: str, patience_s: float) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, **{f"FASTGSHARE_{door}_PORT": "0" for door in ("HTTP", "GRPC", "NATS")}}
    return subprocess.run(
        ["docker", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=patience_s,
    )
