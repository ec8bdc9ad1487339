"""Types are learned once, whoever comes first."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from fastgshare.shared.typed import convert, decode_json, json_decoder, msgpack_decoder

ROOT = Path(__file__).parents[2]


class Inner(msgspec.Struct):
    count: Annotated[int, msgspec.Meta(ge=0)]


class Outer(msgspec.Struct):
    inner: tuple[Inner, ...]


@pytest.mark.timeout(200)
def test_threads_that_meet_at_a_types_first_use_all_get_their_value() -> None:
    """In a process of its own: where types are learned two at a time it dies of SIGSEGV."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.shared.learners"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr


def test_a_decoder_is_made_once() -> None:
    assert msgpack_decoder(Outer) is msgpack_decoder(Outer)
    assert json_decoder(Outer) is json_decoder(Outer)
    assert json_decoder(Outer) is not json_decoder(list[Outer])


def test_what_is_read_is_of_its_type() -> None:
    assert convert(Outer, {"inner": [{"count": 1}]}) == Outer((Inner(1),))
    assert decode_json(list[Outer], b'[{"inner": []}]') == [Outer(())]
    assert convert(int | None, "7", strict=False) == 7


def test_what_does_not_fit_is_told_in_msgspecs_words() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"`int` >= 0 - at `\$.inner\[0\].count`"):
        convert(Outer, {"inner": [{"count": -1}]})
    with pytest.raises(msgspec.ValidationError, match="got `str`"):
        convert(int, "7")
    with pytest.raises(msgspec.DecodeError):
        decode_json(Outer, b"{")
