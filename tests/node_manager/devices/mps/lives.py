"""What tests of the mps device share: lanes, batches, and a model's diary."""

from pathlib import Path

import numpy as np

from fastgshare.node_manager.devices.ports import Lane, Session
from fastgshare.shared.ids import ReplicaId


def lane(name: str = "a", chunks: tuple[int, ...] = (0,), memory_mib: int = 64) -> Lane:
    return Lane(ReplicaId(name), chunks, memory_mib, max_batch=4)


def check(session: Session, scale: float = 2.0, shape: tuple[int, int] = (2, 3)) -> None:
    """One batch, and the right answer."""
    x = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
    outputs, device_us = session.run({"x": x})
    np.testing.assert_array_equal(outputs["y"], scale * x)
    assert device_us == 7


def batch_that(does: float) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    """A batch that makes a toy misbehave."""
    return {"x": np.full((1, 3), does, np.float32)}


class Diary:
    """What the processes of a toy wrote down, each with its process id."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def entries(self) -> list[tuple[int, str]]:
        if not self.path.exists():
            return []
        lines = (line.partition(" ") for line in self.path.read_text().splitlines())
        return [(int(pid), what) for pid, _, what in lines]

    @property
    def events(self) -> list[str]:
        return [what for _, what in self.entries]
