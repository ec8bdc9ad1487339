"""Keys that no field bears are told with their place, at any depth."""

from fastgshare.shared.messages import FunctionSpec
from fastgshare.shared.strict import unknown_keys


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
