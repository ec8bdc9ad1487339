"""Prometheus' own tool, where it is installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian's package prometheus)")
PATIENCE_S = 50.0


def promtool(*arguments: str, text: bytes = b"", directory: Path | None = None) -> str:
    """What it says; fails unless it is content, which includes that it has nothing to find fault with."""
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *arguments], input=text, capture_output=True, cwd=directory, timeout=PATIENCE_S, check=False
    )
    told = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, told
    return told


def check_page(page: bytes) -> None:
    """A page as Prometheus and its conventions want it."""
    assert promtool("check", "metrics", text=page).strip() == ""
