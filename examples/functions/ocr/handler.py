"""Reads a line of text, and tells which way up it is, with PP-OCR's recogniser and direction classifier.

Both models take lines 48 pixels high as float32 [batch, 3, 48, width] in -1..1, blue first; what a line
leaves of the width is 0. Callers send the image's pixels, red first.
"""

import math

import numpy as np

from fastgshare.shared.handler import BadInput, HandlerContext, TensorSpec

HEIGHT = 48
LINE_WIDTHS = (320, 480, 640, 960, 1440)  # few, so that lines of about the same length share a batch
DIRECTION_WIDTH = 192
IMAGE = TensorSpec("image", "UINT8", (-1, -1, 3))  # height, width, channels


class TextLine:
    """A line's image in; its text in UTF-8 and the mean probability of its characters out."""

    inputs = [IMAGE]
    outputs = [TensorSpec("text", "BYTES", (1,)), TensorSpec("confidence", "FP32", (1,))]

    def __init__(self, context: HandlerContext) -> None:
        # Class 0 is CTC's blank, and the last one, which the model's list leaves out, a space.
        self.characters = ["", *context.model_metadata["character"].splitlines(), " "]

    def preprocess(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        image = checked(inputs["image"])
        needed = scaled_width(image)
        width = next((width for width in LINE_WIDTHS if width >= needed), LINE_WIDTHS[-1])
        return {"x": model_input(image, width)}

    def postprocess(self, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        (probabilities,) = outputs.values()
        text, confidence = ctc_decode(probabilities[0], self.characters)
        return {
            "text": np.array([text.strip().encode()], dtype=object),  # margins read as spaces
            "confidence": np.array([confidence], np.float32),
        }


class TextDirection:
    """A line's image in; "0" or "180", the degrees it is turned by, and the probability of that out."""

    inputs = [IMAGE]
    outputs = [TensorSpec("label", "BYTES", (1,)), TensorSpec("score", "FP32", (1,))]

    def __init__(self, context: HandlerContext) -> None:
        self.labels = (b"0", b"180")

    def preprocess(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        image = checked(inputs["image"])
        # Only the start of a longer line: so letters keep the shape that squeezing the whole would spoil.
        start = image[:, : max(1, image.shape[0] * DIRECTION_WIDTH // HEIGHT)]
        return {"x": model_input(start, DIRECTION_WIDTH)}

    def postprocess(self, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        (probabilities,) = outputs.values()
        best = int(probabilities[0].argmax())
        return {
            "label": np.array([self.labels[best]], dtype=object),
            "score": probabilities[0, best : best + 1],
        }


def checked(image: np.ndarray) -> np.ndarray:
    """The image itself, unless it has no pixels."""
    if image.size == 0:
        raise BadInput(f"image: expected at least one pixel, got shape {list(image.shape)}")
    return image


def scaled_width(image: np.ndarray) -> int:
    """The image's width once it is `HEIGHT` high."""
    height, width = map(int, image.shape[:2])
    return math.ceil(width * HEIGHT / height)


def model_input(image: np.ndarray, width: int) -> np.ndarray:
    """The image scaled to `HEIGHT`, squeezed if too long, at the left of a float32 [1, 3, HEIGHT, width]."""
    used = min(width, scaled_width(image))
    pixels = resized(resized(image.astype(np.float32), HEIGHT, axis=0), used, axis=1)
    batch = np.zeros((1, 3, HEIGHT, width), np.float32)
    batch[0, :, :, :used] = pixels[:, :, ::-1].transpose(2, 0, 1) / 127.5 - 1
    return batch


def resized(image: np.ndarray, length: int, axis: int) -> np.ndarray:
    """The image resampled along one axis: linear between pixel centres, as OpenCV's INTER_LINEAR."""
    source = image.shape[axis]
    if source == length:
        return image
    at = np.clip((np.arange(length, dtype=np.float32) + 0.5) * source / length - 0.5, 0, source - 1)
    before = at.astype(int)
    after = np.minimum(before + 1, source - 1)
    share = (at - before).reshape([-1 if dimension == axis else 1 for dimension in range(image.ndim)])
    mixed: np.ndarray = image.take(before, axis) * (1 - share) + image.take(after, axis) * share
    return mixed


def ctc_decode(probabilities: np.ndarray, characters: list[str]) -> tuple[str, float]:
    """Greedy CTC over [steps, classes]: repeats merge, blanks (class 0) vanish; text and mean probability."""
    classes = probabilities.argmax(axis=1)
    kept = classes != 0
    kept[1:] &= classes[1:] != classes[:-1]
    if not kept.any():
        return "", 0.0
    text = "".join(characters[index] for index in classes[kept])
    return text, float(probabilities.max(axis=1)[kept].mean())
