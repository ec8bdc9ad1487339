"""Tasks side by side may fail side by side; a person is told of the first."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def first_fault() -> Iterator[None]:
    """Raise the first exception of a group in the group's place."""
    try:
        yield
    except BaseExceptionGroup as group:
        fault: BaseException = group
        while isinstance(fault, BaseExceptionGroup):
            fault = fault.exceptions[0]
        raise fault from fault.__cause__
