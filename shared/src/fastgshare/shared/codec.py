"""The one codec of the bus: msgspec msgpack, one reusable encoder, one decoder per message type.

Byte fields decode as views into the payload, so a 600 KiB tensor costs microseconds, not a copy.
"""

from typing import Any, TypeVar

import msgspec

from fastgshare.shared.errors import PayloadInvalid
from fastgshare.shared.typed import msgpack_decoder

M = TypeVar("M", bound=msgspec.Struct)

_encoder = msgspec.msgpack.Encoder()


def encode(message: msgspec.Struct) -> bytes:
    """`message` as it travels."""
    return _encoder.encode(message)


def decode(kind: type[M], payload: Any) -> M:
    """A bytes-like `payload` as a `kind`.

    Raises:
        PayloadInvalid: the bytes are not msgpack, or not this message; the reason names the field.
    """
    try:
        message: M = msgpack_decoder(kind).decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadInvalid(expected=kind.__name__, reason=str(error)) from error
    return message
