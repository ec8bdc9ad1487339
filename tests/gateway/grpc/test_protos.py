"""The generated modules are current, and say on the wire what Triton's own say."""

from collections.abc import Iterator
from typing import Any

import tritonclient.grpc.service_pb2 as theirs

from fastgshare.gateway.grpc.protos import inference_pb2 as ours
from scripts.protos import PROTOS, generate


def test_generated_modules_are_current() -> None:
    for name, text in generate().items():
        assert (PROTOS / name).read_text() == text, f"{name}: run `make protos`"


def messages(descriptor: Any) -> Iterator[Any]:
    yield descriptor
    for nested in descriptor.nested_types:
        yield from messages(nested)


def test_every_field_is_theirs() -> None:
    known = dict(theirs.DESCRIPTOR.message_types_by_name)
    known |= theirs._sym_db.pool.FindFileByName("model_config.proto").message_types_by_name
    for top in ours.DESCRIPTOR.message_types_by_name.values():
        for own in messages(top):
            other = {found.full_name: found for found in messages(known[top.name])}[own.full_name]
            fields = {(field.name, field.number, field.type, field.is_repeated) for field in own.fields}
            assert fields <= {(field.name, field.number, field.type, field.is_repeated) for field in other.fields}
            for enum in own.enum_types:
                values = {(value.name, value.number) for value in enum.values}
                assert values <= {(value.name, value.number) for value in other.enum_types_by_name[enum.name].values}
