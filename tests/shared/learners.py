"""A process whose threads all come first: each type is new to every one of them, and they meet at its first use."""

import sys
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from fastgshare.shared import codec, typed

TYPES = 400
THREADS = 8
FIELDS = 6
DEEP = 3
PATIENCE_S = 60.0


def never_used(number: int) -> Any:
    """A struct with structs in it that msgspec has not seen."""
    kind: Any = int
    for depth in range(DEEP):
        fields = [(f"f{index}", kind if index == FIELDS - 1 else int) for index in range(FIELDS)]
        kind = msgspec.defstruct(f"New{number}At{depth}", fields)
    return kind


def document(depth: int) -> dict[str, Any]:
    """What fits it."""
    inner = document(depth - 1) if depth > 1 else 1
    return {f"f{index}": inner if index == FIELDS - 1 else 1 for index in range(FIELDS)}


def main() -> int:
    """0 where every thread had its value of every type."""
    raw = document(DEEP)
    as_json, as_msgpack = msgspec.json.encode(raw), msgspec.msgpack.encode(raw)
    doors: list[Callable[[Any], Any]] = [
        lambda kind: typed.convert(kind, raw),
        lambda kind: typed.decode_json(kind, as_json),
        lambda kind: codec.decode(kind, as_msgpack),
    ]
    kinds = [never_used(number) for number in range(TYPES)]
    meeting = threading.Barrier(THREADS, timeout=PATIENCE_S)
    read: list[Any] = []

    def use(worker: int) -> None:
        for number, kind in enumerate(kinds):
            meeting.wait()
            read.append(doors[(worker + number) % len(doors)](kind))

    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=use, args=(worker,)) for worker in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0 if len(read) == TYPES * THREADS and all(msgspec.to_builtins(value) == raw for value in read) else 1


if __name__ == "__main__":
    sys.exit(main())
