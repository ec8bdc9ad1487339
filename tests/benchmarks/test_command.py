"""The commands of the benchmarks end alike."""

import msgspec
import pytest

from benchmarks.command import EXIT_FAULT, EXIT_MISSED, FAULTS_SAID, finish, measure_platform, parser
from fastgshare.shared.errors import InvalidSpec


def test_the_last_line_is_the_document_and_the_first_faults_stand_before_it(capsys: pytest.CaptureFixture[str]) -> None:
    faults = [f"failed: {number}" for number in range(FAULTS_SAID + 5)]
    assert finish({"rps": 7}, ["rps 7, expected at least 8"], faults, check=False) == EXIT_FAULT
    *said, last = capsys.readouterr().out.splitlines()
    assert said == ["missed: rps 7, expected at least 8", *faults[:FAULTS_SAID]]
    assert msgspec.json.decode(last) == {"rps": 7}


def test_what_is_missed_is_an_exit_status_only_when_asked_for() -> None:
    assert finish({}, ["rps"], check=False) == 0
    assert finish({}, ["rps"], check=True) == EXIT_MISSED
    assert finish({}, [], check=True) == 0


@pytest.mark.parametrize(("argv", "rounds"), [([], 9), (["--quick"], 3)])
def test_the_plan_is_the_quick_one_where_that_is_asked_for(argv: list[str], rounds: int) -> None:
    async def measure(plan: int) -> int:
        return plan

    def publish(plan: int, measured: int, check: bool) -> int:
        assert (plan, measured, check) == (rounds, rounds, False)
        return 0

    assert measure_platform(parser("").parse_args(argv), (3, 9), measure, publish) == 0


def test_a_platform_that_does_not_serve_is_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    async def measure(plan: int) -> int:
        raise InvalidSpec(["no such model"])

    status = measure_platform(parser("").parse_args([]), (3, 9), measure, lambda plan, measured, check: 0)
    assert status == EXIT_FAULT
    assert "no such model" in capsys.readouterr().err
