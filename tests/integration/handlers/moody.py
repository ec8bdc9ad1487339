"""User code that does what its caller asks for, be it good or bad."""

import os
import time
from typing import ClassVar

import numpy as np

from fastgshare.shared.handler import BadInput, HandlerContext, TensorSpec


class Moody:
    """`x` through the model, unless `mood` says otherwise: raise, bad, hang, exit, or late (raise afterwards)."""

    inputs: ClassVar = [TensorSpec("mood", "BYTES", (1,)), TensorSpec("x", "FP32", (4,))]
    outputs: ClassVar = [TensorSpec("y", "FP32", (4,)), TensorSpec("pid", "INT64", (1,))]

    def __init__(self, context: HandlerContext) -> None:
        pass

    def preprocess(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        mood = inputs["mood"][0]
        if mood == b"raise":
            raise RuntimeError("not today")
        if mood == b"bad":
            raise BadInput("mood: expected a better one")
        if mood == b"hang":
            time.sleep(3600)
        if mood == b"exit":
            os._exit(7)
        x = inputs["x"][np.newaxis]
        return {"x": x * np.nan if mood == b"late" else x}

    def postprocess(self, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        y = outputs["y"][0]
        if np.isnan(y).all():
            raise RuntimeError("too late to ask")
        return {"y": y, "pid": np.array([os.getpid()])}
