"""Log files: kept per run, bounded, and readable from the end."""

import os
from pathlib import Path

from fastgshare.cli.up.logs import Logs, reason_in


def write(logs: Logs, text: str) -> None:
    descriptor = logs.open("gateway")
    os.write(descriptor, text.encode())
    os.close(descriptor)


def test_each_run_begins_with_an_empty_file_and_two_earlier_ones_are_kept(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    for run in range(5):
        logs.rotate()
        write(logs, f"run {run}\n")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "gateway.log": "run 4\n",
        "gateway.log.1": "run 3\n",
        "gateway.log.2": "run 2\n",
    }


def test_a_file_over_the_limit_is_cut_under_its_writer(tmp_path: Path) -> None:
    logs = Logs(tmp_path, limit_bytes=10)
    writer = logs.open("gateway")
    os.write(writer, b"a long first line\n")
    logs.bound()
    os.write(writer, b"short\n")
    logs.bound()
    os.close(writer)
    assert logs.path("gateway").read_text() == "short\n"
    assert (tmp_path / "gateway.log.1").read_text() == "a long first line\n"


def test_the_last_lines_are_those_of_this_life(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    assert logs.last_lines("gateway", 3) == []
    write(logs, "of the life before\n")
    begins = logs.size("gateway")
    assert logs.last_lines("gateway", 3, begins) == []
    write(logs, "one\n\ntwo\nthree\nfour\n")
    assert logs.last_lines("gateway", 3, begins) == ["two", "three", "four"]


def test_lines_are_found_after_the_file_was_cut(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    write(logs, "what was cut away\n" * 10)
    begins = logs.size("gateway")
    os.truncate(logs.path("gateway"), 0)
    write(logs, "new\n")
    assert logs.last_lines("gateway", 3, begins) == ["new"]


def test_only_an_error_is_taken_for_the_reason_of_an_end() -> None:
    assert reason_in([]) == ""
    assert reason_in(["12:00 INFO  profiler measured a row"]) == ""
    assert reason_in(["scheduler stopped: StorageUnavailable: gone"]) == "scheduler stopped: StorageUnavailable: gone"
    assert reason_in(["Traceback (most recent call last):", "  File x", "fastgshare.DeviceLost: gpu0"]).endswith("gpu0")
    assert reason_in(["[7] 2026/01/01 [FTL] no such directory"])
