"""The GPU check's own logic; its questions about the driver are asked beside the cuda device's tests, on the stub."""

import json
from pathlib import Path

import pytest

from benchmarks.gpu_check import check
from benchmarks.gpu_check.report import Outcome, Report, contract_of, exit_status, file_name, outcome_of


def test_a_question_answers_with_its_last_line() -> None:
    outcome = outcome_of("chunks", 0, 'a warning\n{"chunks": 16}\n', "", 1.5)
    assert outcome == Outcome(question="chunks", answer={"chunks": 16}, took_s=1.5)


@pytest.mark.parametrize(
    ("status", "stdout", "stderr", "fault"),
    [
        (None, "", "", "it did not end in time"),
        (1, "", "Traceback\nCudaFault: no", "it ended with status 1: CudaFault: no"),
        (-11, "", "", "it was ended by signal 11"),
        (0, "no answer", "", "it ended with status 0"),
        (0, "", "", "it ended with status 0"),
    ],
)
def test_a_question_that_breaks_says_how(status: int | None, stdout: str, stderr: str, fault: str) -> None:
    outcome = outcome_of("gate", status, stdout, stderr, 1.0)
    assert outcome.answer is None
    assert outcome.fault == fault


def test_a_question_that_fails_does_not_end_the_check(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = check.ask("no-such-question")
    assert outcome.answer is None
    assert "KeyError" in outcome.fault
    assert "no answer" in capsys.readouterr().out


def test_a_report_is_named_by_day_and_device() -> None:
    assert file_name("2026-03-01", "NVIDIA H200 (SXM)") == "gpu-check-2026-03-01-nvidia-h200-sxm.json"


@pytest.mark.parametrize(("answer", "passed", "status"), [({"a": 1}, True, 0), (None, True, 1), ({"a": 1}, False, 1)])
def test_a_check_succeeds_when_everything_is_answered_and_the_contract_holds(
    answer: dict[str, int] | None, passed: bool, status: int
) -> None:
    report = Report(
        date="2026-03-01",
        facts={},
        outcomes=(Outcome(question="a", answer=answer),),
        contract={"passed": passed},
    )
    assert exit_status(report) == status


def test_the_contracts_failures_are_named() -> None:
    found = contract_of(1, "FAILED tests/a.py::test_b - no\n1 failed, 3 passed in 2 s")
    assert not found["passed"]
    assert found["summary"] == "1 failed, 3 passed in 2 s"
    assert found["failed"] == ["tests/a.py::test_b - no"]


def test_a_contract_that_was_only_skipped_did_not_pass() -> None:
    found = contract_of(0, "SKIPPED [3] tests/a.py:9: no GPU\n3 skipped, 90 deselected in 2 s")
    assert not found["passed"]
    assert found["skipped"] == ["[3] tests/a.py:9: no GPU"]
    assert contract_of(0, "3 passed, 1 skipped in 2 s")["passed"]


def test_without_a_gpu_it_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "gpu_missing", lambda: "no NVIDIA driver answers")
    assert check.main([]) == 3
    assert capsys.readouterr().out == "gpu-check: nothing to check on this machine: no NVIDIA driver answers\n"


def test_a_check_writes_what_it_prints_last(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(check, "gpu_missing", lambda: "")
    monkeypatch.setattr(check, "collect", lambda: {"device": "Stub H200"})
    monkeypatch.setattr(check, "ask", lambda question: Outcome(question=question, answer={}))
    monkeypatch.setattr(check, "run_contract", lambda: {"passed": True, "summary": "ok", "failed": []})
    assert check.main(["--only", "gate", "--results", str(tmp_path)]) == 0
    [written] = tmp_path.glob("gpu-check-*-stub-h200.json")
    assert json.loads(written.read_text()) == json.loads(capsys.readouterr().out.splitlines()[-1])
