"""`fastgshare journal` ends as its reader does, and Ctrl-C ends both without a word."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import typer

from fastgshare.cli.commands import journal as command


def ended(place: Path, *, replay: bool) -> int:
    with pytest.raises(typer.Exit) as exited:
        command.journal(place, replay=replay)
    return exited.value.exit_code


@pytest.mark.parametrize("replay", [True, False])
def test_where_there_is_no_journal_the_status_is_the_same_and_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], replay: bool
) -> None:
    for place in (tmp_path, tmp_path / "nothing"):
        assert ended(place, replay=replay) == 2
        assert capfd.readouterr().err == f"{place}: no journal there\n"


@pytest.mark.usefixtures("hears_ctrl_c")
def test_ctrl_c_reaches_only_the_command_and_ends_its_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    started = tmp_path / "started"
    code = f"import os, time; os.symlink(str(os.getpid()), {str(started)!r}); time.sleep(60)"
    monkeypatch.setattr(command, "READER", (sys.executable, "-c", code))
    readers: list[psutil.Process] = []
    sessions: list[int] = []

    def interrupt() -> None:
        while not started.is_symlink():  # made in one go, with the reader's pid as its target
            time.sleep(0.01)
        readers.append(psutil.Process(int(os.readlink(started))))
        sessions.append(os.getsid(readers[0].pid))
        os.kill(os.getpid(), signal.SIGINT)

    helper = threading.Thread(target=interrupt)
    helper.start()
    assert ended(tmp_path, replay=True) == 130
    helper.join()
    assert sessions == [reader.pid for reader in readers]
    assert not any(reader.is_running() for reader in readers)
    assert capfd.readouterr().err == ""
