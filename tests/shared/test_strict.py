"""Keys that no field bears, and values of another type, are told with their place, at any depth."""

import msgspec

from fastgshare.shared.messages import FunctionSpec
from fastgshare.shared.strict import misfits, unknown_keys


def test_known_keys_are_let_pass() -> None:
    raw = {"name": "f", "model": {"digest": "d", "size_bytes": 1}, "labels": {"any": "key"}, "handler": None}
    assert list(unknown_keys(raw, FunctionSpec)) == []


def test_a_misspelt_key_is_told_with_its_place_and_the_likely_one() -> None:
    raw = {"slo": 5, "model": {"digset": "d"}, "handler": {"zzz": 1}}
    slo, digest, handler = unknown_keys(raw, FunctionSpec)
    assert slo.startswith("slo is not known;")
    assert digest.startswith("model.digset is not known; did you mean digest?")
    assert handler.startswith("handler.zzz is not known; known keys: digest, module")


def test_what_is_no_object_has_no_keys() -> None:
    assert list(unknown_keys([1, "two", None], FunctionSpec)) == []
    assert list(unknown_keys({"model": 5}, FunctionSpec)) == []


class Part(msgspec.Struct):
    size: int
    names: tuple[str, ...] = ()


class Whole(msgspec.Struct):
    part: Part | None
    steps: tuple[tuple[float, float], ...] | None = None
    parts: Part | tuple[Part, ...] = ()


def test_every_value_of_another_type_is_told_and_every_missing_one() -> None:
    raw = {"part": {"names": ["a", 5]}, "steps": [[1, 2], [3, "four"]], "parts": [{"size": 1}, {"size": "two"}]}
    assert list(misfits(raw, Whole)) == [
        "part.size is missing",
        "part.names[1]: expected 'str', got 'int'",
        "steps[1]: expected 'float', got 'str'",
        "parts[1].size: expected 'int', got 'str'",
    ]


def test_what_fits_is_let_pass_and_what_is_no_object_at_all_is_told_once() -> None:
    assert list(misfits({"part": None, "parts": {"size": 1}}, Whole)) == []
    assert list(misfits({"part": 5}, Whole)) == ["part: expected 'object | null', got 'int'"]
    assert list(misfits([], Whole)) == ["top level: expected 'object', got 'array'"]
