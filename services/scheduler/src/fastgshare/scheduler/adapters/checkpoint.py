"""The core as bytes and back: a beginning from which a journal can be replayed.

Pickle, because the core's state is a graph (a placement is in two indices, and must stay one object) that changes
with the algorithms; no schema has to follow it. Messages in it are stored as they are sent, and the books as what they
cannot be made from again, as both take long otherwise. What is read back is held to the core's own classes and pure
functions, messages, and plain data: a journal from elsewhere can name nothing that acts. A checkpoint is good for the
code that wrote it, and no longer.
"""

import copyreg
import importlib
import io
import pickle
import sys
from dataclasses import fields
from operator import attrgetter
from types import FunctionType
from typing import Any, cast
from weakref import WeakKeyDictionary

from fastgshare.scheduler.core import packing
from fastgshare.scheduler.core.books import Books
from fastgshare.scheduler.core.scheduler import Scheduler
from fastgshare.scheduler.core.state import Placed, Reported
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import FastGShareError
from fastgshare.shared.messages import FunctionSpec, Placement, ReplicaStatus
from fastgshare.shared.tables import Table

PROTOCOL = 5
OURS = ("fastgshare.scheduler.core.", "fastgshare.shared.")
PLAIN = {
    "builtins": {"bytearray", "complex", "frozenset", "range", "set", "slice"},
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "msgspec._core": {"rebuild"},
    "msgspec._utils": {"rebuild"},
    __name__: {"_table", "_message"},
}
MESSAGES: dict[str, type[Placement | ReplicaStatus | FunctionSpec]] = {
    kind.__name__: kind for kind in (Placement, ReplicaStatus, FunctionSpec)
}
"""Most of what a core of a large fleet believes: these are stored as they are sent, which takes a tenth of the time."""

_encoded_tables: WeakKeyDictionary[Table, bytes] = WeakKeyDictionary()
"""Tables never change, are large, and stand in every checkpoint: each is encoded once."""


class CheckpointInvalid(FastGShareError):
    """Bytes that are no checkpoint of this code: field `reason`."""


def encode_core(core: Scheduler) -> bytes:
    """All that `core` believes. Raises CheckpointInvalid where its state holds what is no data."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, PROTOCOL)
    outline = packing.outline(core.state)
    books: dict[type, Any] = {Books: lambda _: (packing.Outline, tuple(outline))}
    pickler.dispatch_table = copyreg.dispatch_table | {Table: _reduce_table} | _REDUCERS | books
    try:
        pickler.dump(core)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointInvalid(reason=f"{type(error).__name__}: {error}") from error
    return buffer.getvalue()


def decode_core(payload: bytes) -> Scheduler:
    """The core that `encode_core` was given. Raises CheckpointInvalid."""
    try:
        core = _Unpickler(io.BytesIO(payload)).load()
        if isinstance(core, Scheduler):
            core.state.books = packing.restored(core.state, cast(packing.Outline, core.state.books))
    except CheckpointInvalid:
        raise
    except Exception as error:  # whatever bytes can make pickle raise
        raise CheckpointInvalid(reason=f"{type(error).__name__}: {error}") from error
    if not isinstance(core, Scheduler):
        raise CheckpointInvalid(reason=f"a scheduler was expected, it is a {type(core).__name__}")
    return core


class _Unpickler(pickle.Unpickler):
    """Finds classes and pure functions of ours, and plain containers; nothing else."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if global_name in PLAIN.get(module_name, ()):
            return super().find_class(module_name, global_name)
        if module_name.startswith(OURS) and "." not in global_name:
            module = sys.modules.get(module_name) or importlib.import_module(module_name)
            found = getattr(module, global_name, None)
            is_core = module_name.startswith(OURS[0]) and isinstance(found, FunctionType)
            if (isinstance(found, type) or is_core) and found.__module__ == module_name:
                return found
        raise CheckpointInvalid(reason=f"{module_name}.{global_name} has no place in a checkpoint")


def _reduce_table(table: Table) -> tuple[Any, tuple[bytes]]:
    encoded = _encoded_tables.get(table)
    if encoded is None:
        encoded = _encoded_tables[table] = pickle.dumps(table.parts, PROTOCOL)
    return _table, (encoded,)


def _reduce_message(message: Placement | ReplicaStatus | FunctionSpec) -> tuple[Any, tuple[str, bytes]]:
    return _message, (type(message).__name__, encode(message))


def _reduce_flat(one: Placed | Reported) -> tuple[Any, tuple[Any, ...]]:
    return type(one), _FLAT[type(one)](one)


_FLAT = {kind: attrgetter(*(field.name for field in fields(kind))) for kind in (Placed, Reported)}
_REDUCERS: dict[type, Any] = dict.fromkeys(MESSAGES.values(), _reduce_message) | dict.fromkeys(_FLAT, _reduce_flat)


def _message(kind: str, encoded: bytes) -> Placement | ReplicaStatus | FunctionSpec:
    return decode(MESSAGES[kind], encoded)


def _table(encoded: bytes) -> Table:
    return Table(*_Unpickler(io.BytesIO(encoded)).load())
