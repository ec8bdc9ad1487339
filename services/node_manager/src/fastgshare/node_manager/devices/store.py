"""One copy of a model's weights per device: loaded by whoever comes first, shared by content, freed with the last.

Thread-safe: replicas load on their own threads, and two of one model wait for one load.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import ModelOnDevice


class Sharable(Protocol):
    """What a store keeps: something with weights that can be freed."""

    @property
    def weights_mib(self) -> float:
        """How much memory the weights take."""
        ...

    def close(self) -> None:
        """Free them."""
        ...


Kept = TypeVar("Kept", bound=Sharable)


@dataclass(slots=True)
class _Entry(Generic[Kept]):
    loading: threading.Lock = field(default_factory=threading.Lock)
    kept: Kept | None = None
    holders: int = 0


class ModelStore(Generic[Kept]):
    """Models on one device by digest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[Digest, _Entry[Kept]] = {}

    def hold(self, digest: Digest, load: Callable[[], Kept]) -> tuple[Kept, bool]:
        """The model, loaded by `load` unless it is here, and whether it was; whatever `load` raises passes through."""
        with self._lock:
            entry = self._entries.setdefault(digest, _Entry())
            entry.holders += 1
        try:
            with entry.loading:
                was_loaded = entry.kept is not None
                if entry.kept is None:
                    entry.kept = load()
                return entry.kept, was_loaded
        except BaseException:
            self.release(digest)
            raise

    def release(self, digest: Digest) -> None:
        """One holder less; the last one frees the weights."""
        with self._lock:
            entry = self._entries[digest]
            entry.holders -= 1
            if entry.holders:
                return
            del self._entries[digest]
        if entry.kept is not None:
            entry.kept.close()

    def table(self) -> tuple[ModelOnDevice, ...]:
        """What is loaded, with how many sessions hold each."""
        with self._lock:
            return tuple(
                ModelOnDevice(digest=digest, weights_mib=entry.kept.weights_mib, replicas=entry.holders)
                for digest, entry in self._entries.items()
                if entry.kept is not None
            )
