"""YAML is read as people meant it, or not at all."""

import pytest

from fastgshare.shared.errors import InvalidSpec
from fastgshare.shared.yaml_text import parsed


def problem(text: str) -> str:
    with pytest.raises(InvalidSpec) as caught:
        parsed(text)
    [told] = caught.value.problems
    return told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: {c: 1}\na: 2\n", "line 3, column 1: a stands there twice, expected each key once"),
        ("a: {b: 1, c: 2, b: 3}", "line 1, column 17: b stands there twice"),
        ("a:\n\t- b", "line 2, column 1: not YAML: found character"),
        ("[" * 2000, "its lists and mappings lie too deep in each other"),
        ("!!python/object/apply:os.system ['true']", "line 1, column 1: not YAML: could not determine a constructor"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, told: str) -> None:
    assert problem(text).startswith(told)


def test_a_merged_key_may_be_written_over_and_equal_keys_of_two_mappings_are_none() -> None:
    text = "base: &base {a: 1, b: 2}\nown: {<<: *base, b: 3}\nagain: {<<: *base, a: 4}\n"
    assert parsed(text)["own"] == {"a": 1, "b": 3}
    assert parsed(text)["again"] == {"a": 4, "b": 2}
