"""What was once sent decodes for ever, and every message and every field of it is covered."""

import importlib
import inspect
import pkgutil

import msgspec
import pytest

from fastgshare.shared import messages
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import ErrorBody
from fastgshare.shared.handler import TensorSpec
from tests.shared.golden_payloads import DIRECTORY, EXAMPLES, path_of

PACKAGE = f"{messages.__name__}."
MESSAGES = {name: kind for name in messages.__all__ if inspect.isclass(kind := getattr(messages, name))}
STRUCTS: dict[str, type[msgspec.Struct]] = {
    name: kind for name, kind in MESSAGES.items() if issubclass(kind, msgspec.Struct)
} | {"ErrorBody": ErrorBody, "TensorSpec": TensorSpec}

each_example = pytest.mark.parametrize("name", sorted(EXAMPLES))


def test_every_message_is_exported() -> None:
    modules = [importlib.import_module(module.name) for module in pkgutil.iter_modules(messages.__path__, PACKAGE)]
    defined = {
        kind.__name__
        for module in modules
        for kind in vars(module).values()
        if inspect.isclass(kind) and kind.__module__ == module.__name__
    }
    assert defined == set(MESSAGES)


def test_every_message_has_an_example_and_every_example_its_payload() -> None:
    advice = "; run `python -m tests.shared.golden_payloads`"
    assert {name.partition(".")[0] for name in EXAMPLES} == set(STRUCTS)
    assert {name for name in EXAMPLES if not path_of(name).exists()} == set(), advice
    assert {path.name for path in DIRECTORY.iterdir()} == {path_of(name).name for name in EXAMPLES}, "left over"


def test_every_field_is_set_in_some_example() -> None:
    """A field at its default would decode from a payload that lacks it, so it would prove nothing."""
    unset = {
        f"{name}.{field.name}"
        for name, kind in STRUCTS.items()
        for field in msgspec.structs.fields(kind)
        if not any(type(example) is kind and _is_set(example, field) for example in EXAMPLES.values())
    }
    assert unset == set(), "a new field needs a further example that sets it"


@each_example
def test_the_payload_decodes_to_its_example(name: str) -> None:
    example = EXAMPLES[name]
    assert decode(type(example), path_of(name).read_bytes()) == example


@each_example
def test_what_is_sent_now_decodes_to_the_same(name: str) -> None:
    example = EXAMPLES[name]
    assert decode(type(example), encode(example)) == example


@each_example
def test_a_payload_with_more_in_it_still_decodes(name: str) -> None:
    """Tomorrow's sender adds fields; today's receiver ignores them."""
    example = EXAMPLES[name]
    plain = msgspec.msgpack.decode(encode(example))
    more = [*plain, "tomorrow"] if isinstance(plain, list) else plain | {"tomorrow": 1}
    assert decode(type(example), msgspec.msgpack.encode(more)) == example


@pytest.mark.parametrize("kind", STRUCTS.values(), ids=STRUCTS)
def test_messages_are_frozen(kind: type[msgspec.Struct]) -> None:
    assert kind.__struct_config__.frozen


def _is_set(example: msgspec.Struct, field: msgspec.structs.FieldInfo) -> bool:
    return field.required or getattr(example, field.name) != _default(field)


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default_factory() if callable(field.default_factory) else field.default
