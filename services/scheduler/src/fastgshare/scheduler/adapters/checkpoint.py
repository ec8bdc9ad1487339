"""The core as bytes and back: a beginning from which a journal can be replayed.

Pickle, because the core's state is a graph (a placement is in two indices, and must stay one object) that changes
with the algorithms; no schema has to follow it. Messages in it are stored as they are sent, and the books as what they
cannot be made from again, as both take long otherwise. A journal from elsewhere can name nothing that acts: what is
read back is made of messages and of the data classes (structs, dataclasses, named tuples, enums) of the modules listed
here, and nothing is imported, called or changed but what they are made from. So it is read by the reader in Python: the
one in C would set attributes on a class as willingly as on what was made from it. A checkpoint is good for the code
that wrote it, and no longer.
"""

import copyreg
import io
import pickle
import sys
from dataclasses import fields, is_dataclass
from enum import Enum
from operator import attrgetter
from types import BuiltinFunctionType, FunctionType
from typing import Any, ClassVar, cast
from weakref import WeakKeyDictionary

import msgspec

from fastgshare.scheduler.core import packing
from fastgshare.scheduler.core.books import Books
from fastgshare.scheduler.core.records import Placed, Reported
from fastgshare.scheduler.core.scheduler import Scheduler
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import FastGShareError
from fastgshare.shared.messages import FunctionSpec, Placement, ReplicaStatus
from fastgshare.shared.tables import Table

PROTOCOL = 5
CORE, SHARED = "fastgshare.scheduler.core.", "fastgshare.shared."
DATA_MODULES = frozenset(
    [CORE + name for name in ("books", "commands", "events", "forecast", "liveness", "menu", "packing")]
    + [CORE + name for name in ("policies.port", "queueing", "rearranging", "records", "scaling", "settings")]
    + [CORE + name for name in ("state", "traffic", "windows")]
    + [SHARED + name for name in ("ids", "tables", "units")]
    + [f"{SHARED}messages.{name}" for name in ("events", "fleet", "functions", "infer", "leases", "load", "profile")]
)
PLAIN = {
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "msgspec._core": {"rebuild"},
    "msgspec._utils": {"rebuild"},
    __name__: {"_table", "_message"},
}
"""Containers, and the functions by which structs, messages and tables are made."""
MESSAGES: dict[str, type[Placement | ReplicaStatus | FunctionSpec]] = {
    kind.__name__: kind for kind in (Placement, ReplicaStatus, FunctionSpec)
}
"""Most of what a core of a large fleet believes: these are stored as they are sent, which takes a tenth of the time."""

_encoded_tables: WeakKeyDictionary[Table, bytes] = WeakKeyDictionary()
"""Tables never change, are large, and stand in every checkpoint: each is encoded once."""


class CheckpointInvalid(FastGShareError):
    """Bytes that are no checkpoint of this code: field `reason`."""

    @property
    def reason(self) -> str:
        """What is wrong with them."""
        return str(self.fields["reason"])

    def __str__(self) -> str:
        return f"no checkpoint of this code: {self.reason}"


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


class _Unpickler(pickle._Unpickler):  # noqa: SLF001 (the only reader whose steps can be overridden)
    """Finds data classes of ours and plain containers, and changes nothing but what it made."""

    dispatch: ClassVar = dict(pickle._Unpickler.dispatch)  # noqa: SLF001

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if global_name in PLAIN.get(module_name, ()):
            return super().find_class(module_name, global_name)
        if (module_name, global_name) == (Scheduler.__module__, Scheduler.__qualname__):
            return Scheduler
        if module_name in DATA_MODULES:
            found = getattr(sys.modules.get(module_name), global_name, None)
            if _is_data(found) and found.__module__ == module_name:
                return found
        raise CheckpointInvalid(reason=f"{module_name}.{global_name} has no place in a checkpoint")

    def load_build(self) -> None:
        """State for what was just made. Classes, functions and the members of an enum are everybody's."""
        target = self.stack[-2]  # type: ignore[attr-defined]
        if isinstance(target, type | Enum | FunctionType | BuiltinFunctionType):
            raise CheckpointInvalid(reason=f"it would change {target!r}")
        super().load_build()  # type: ignore[misc]

    dispatch[pickle.BUILD[0]] = load_build  # type: ignore[assignment]


def _is_data(found: Any) -> bool:
    """Whether it is a class that holds something, and does nothing when it is called."""
    if not isinstance(found, type):
        return False
    is_tuple = issubclass(found, tuple) and hasattr(found, "_fields")
    return is_tuple or is_dataclass(found) or issubclass(found, msgspec.Struct | Enum)


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
