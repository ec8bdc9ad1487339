"""A trace with anything wrong in it is no trace, and every wrong line is told with what was expected."""

import numpy as np
import pytest

from fastgshare.simulator.core.tracefile import ANYBODY, MAX_S, TraceInvalid, load_of, read_trace
from fastgshare.simulator.core.traffic import rate_at


def problems(text: str) -> list[str]:
    with pytest.raises(TraceInvalid) as caught:
        read_trace(text)
    return caught.value.problems


def test_arrivals_of_one_function() -> None:
    trace = read_trace("t_s\n0.5\n\n1.25\n1.25\n")
    times, rates = trace.rows[ANYBODY]
    assert times.tolist() == [0.5, 1.25, 1.25]
    assert rates is None
    assert trace.end_s == 2.0


def test_rates_of_several_functions_in_any_order_of_columns() -> None:
    trace = read_trace("function, t_s, rps\na,0,10\nb,0,1\na,5,20\n")
    assert sorted(trace.rows) == ["a", "b"]
    times, rates = trace.rows["a"]
    assert rates is not None
    load = load_of(times, rates, scale=2.0, until_s=100.0)
    assert [rate_at(load, at_us) for at_us in (2_000_000, 7_000_000, 11_000_000)] == [20.0, 40.0, 0.0]
    assert trace.end_s == 10.0  # the last interval is as long as the one before


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: its columns are none, expected t_s and, as needed, rps and function"),
        ("time,rps\n1,2\n", "line 1: its columns are time, rps, expected t_s"),
        ("t_s,rate\n1,2\n", "line 1: column 'rate' is not known"),
        ("t_s,rps,rps\n1,2,3\n", "line 1: a column stands there twice"),
        ("t_s,rps\n", "it has no rows"),
        ("t_s,rps\n0,1\n1\n", "line 3: it has 1 values, expected 2: t_s, rps"),
        ("t_s,rps\nsoon,1\n", "line 2: t_s is 'soon', expected seconds from 0"),
        ("t_s,rps\n-1,1\n", "line 2: t_s is '-1', expected seconds from 0"),
        ("t_s,rps\nnan,1\n", "line 2: t_s is 'nan'"),
        ("t_s,rps\n0,-3\n", "line 2: rps is '-3', expected requests a second from 0"),
        ("t_s,rps\n0,inf\n", "line 2: rps is 'inf'"),
        ("t_s\n5\n4\n", "line 3: t_s is 4 after 5, expected ascending times"),
        ("t_s,rps\n5,1\n5,2\n", "line 3: t_s is 5 after 5"),
        ("t_s,function\n5,Big Name\n", "line 2: function is 'Big Name', expected a name"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, problem: str) -> None:
    assert problems(text)[0].startswith(problem)


def test_all_bad_rows_are_told_at_once() -> None:
    assert [line.partition(":")[0] for line in problems("t_s\n1\nx\n2\n-1\n0.5\n")] == ["line 3", "line 5", "line 6"]


def test_a_message_shows_the_first_and_counts_the_rest() -> None:
    with pytest.raises(TraceInvalid, match=r"line 9: .*; and 12 more$"):
        read_trace("t_s\n" + "x\n" * 20)


def test_long_traces_are_read_as_they_are() -> None:
    times = np.arange(100_000) / 100
    trace = read_trace("t_s\n" + "\n".join(f"{at:.2f}" for at in times))
    assert np.array_equal(trace.rows[ANYBODY][0], times)


def test_separators_and_marks_of_other_programs_are_told_or_taken() -> None:
    assert problems("t_s;rps\n0;1\n") == [
        "line 1: its columns are separated by ';', expected ','; expected t_s and, as needed, rps and function"
    ]
    assert problems(f"t_s,rps\n0,{'1' * 200_000}\n") == ["line 2: field larger than field limit (131072)"]


def test_the_last_interval_is_told_and_ends_with_the_longest_run() -> None:
    trace = read_trace("t_s,rps\n0,1\n30000000,1\n")
    assert (trace.end_s, trace.tail_s) == (MAX_S, MAX_S - 3e7)
    assert read_trace("t_s\n0\n5\n").tail_s == 0
