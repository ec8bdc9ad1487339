"""User code that answers in as many parts as it is asked for, and tells in a file how that ended."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from fastgshare.shared.handler import HandlerContext, TensorSpec

PAUSE_S = 0.01


class Counter:
    """`x` is (parts, whether it waits for the file `go` before the second, whether it raises at the end, anything)."""

    inputs: ClassVar = [TensorSpec("desk", "BYTES", (1,)), TensorSpec("x", "FP32", (4,))]
    outputs: ClassVar = [TensorSpec("part", "INT64", (1,)), TensorSpec("y", "FP32", (1,))]

    def __init__(self, context: HandlerContext) -> None:
        self._desk = Path()

    def preprocess(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self._desk = Path(inputs["desk"][0].decode())
        return {"x": inputs["x"][np.newaxis]}

    def postprocess(self, outputs: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        parts, waits, raises, value = outputs["y"][0]
        desk, made = self._desk, 0
        try:
            for part in range(int(parts)):
                while part == 1 and waits and not (desk / "go").exists():
                    time.sleep(PAUSE_S)
                yield {"part": np.array([part]), "y": np.array([value * part], np.float32)}
                made += 1
            if raises:
                raise RuntimeError("no more")
        finally:
            (desk / "made").write_text(str(made))
