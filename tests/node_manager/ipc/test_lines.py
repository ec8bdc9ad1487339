"""A child's output as lines: none lost below the limits, and above them the loss is counted."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from fastgshare.node_manager.ipc.lines import CUT_MARK, LineLimiter

S_US = 1_000_000


@settings(deadline=None)
@given(st.lists(st.text("ab\r", max_size=10), max_size=20), st.lists(st.integers(0, 300), max_size=10))
def test_lines_come_out_whole_however_the_output_is_cut(lines: list[str], places: list[int]) -> None:
    output = "".join(f"{line}\n" for line in lines).encode()
    edges = [0, *sorted(place % (len(output) + 1) for place in places), len(output)]
    limiter = LineLimiter()
    heard = [line for start, end in pairwise(edges) for line in limiter.feed(output[start:end], now_us=1)]
    assert heard == [line.rstrip("\r") for line in lines]
    assert limiter.finish() == []


def test_a_line_without_end_is_kept_to_the_limit_and_said_at_the_end() -> None:
    limiter = LineLimiter(max_line_bytes=8)
    assert limiter.feed(b"0123456", 1) == []
    assert limiter.feed(b"7", 1) == []
    assert limiter.finish() == ["01234567"]
    assert limiter.feed(b"0123456789" * 1000, 1) == []
    assert limiter.feed(b"0123\nnext\n", 1) == ["01234567" + CUT_MARK, "next"]
    assert limiter.finish() == []


def test_bytes_that_are_no_text_are_still_a_line() -> None:
    assert LineLimiter().feed(b"\xff\xfe\n", 1) == ["\ufffd\ufffd"]


def test_above_the_rate_lines_are_dropped_and_the_loss_is_told() -> None:
    limiter = LineLimiter(lines_per_s=2, burst_lines=3)
    assert limiter.feed(b"a\nb\nc\nd\ne\n", S_US) == ["a", "b", "c"]
    assert limiter.feed(b"f\n", S_US + S_US // 2) == ["[2 lines dropped: more than 2 a second]", "f"]
    assert limiter.feed(b"g\n", S_US + S_US // 2) == []
    assert limiter.finish() == ["[1 lines dropped: more than 2 a second]"]
    assert limiter.feed(b"h\ni\nj\nk\n", 100 * S_US) == ["h", "i", "j"]
