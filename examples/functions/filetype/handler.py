"""Tells the type of a file from its bytes, with Magika's model.

The model reads the first and the last 1,024 bytes of the file without its outer white space. Sizes, labels
and thresholds come from the configuration in Magika's wheel; the decision is its `HIGH_CONFIDENCE` mode's.
"""

import json

import numpy as np

from fastgshare.shared.handler import BadInput, HandlerContext, TensorSpec


class FileType:
    """A file's content in; Magika's label for it ("python", "png", "txt", ...) and the model's score out."""

    inputs = [TensorSpec("file", "BYTES", (1,))]
    outputs = [TensorSpec("label", "BYTES", (1,)), TensorSpec("score", "FP32", (1,))]

    def __init__(self, context: HandlerContext) -> None:
        self.config = json.loads((context.directory / "config.min.json").read_text())
        self.types = json.loads((context.directory / "content_types_kb.min.json").read_text())

    def preprocess(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"bytes": self.features(inputs["file"][0])[np.newaxis]}

    def postprocess(self, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        scores = outputs["target_label"][0]
        best = int(scores.argmax())
        label = self.label(self.config["target_labels_space"][best], float(scores[best]))
        return {"label": np.array([label.encode()], dtype=object), "score": scores[best : best + 1]}

    def features(self, content: bytes) -> np.ndarray:
        """The beginning padded on its right, then the end padded on its left: int32 [beg_size + end_size]."""
        block, shortest = self.config["block_size"], self.config["min_file_size_for_dl"]
        head = content[:block].lstrip()[: self.config["beg_size"]]
        tail = content[-block:].rstrip()[-self.config["end_size"] :]
        if len(head) < shortest:
            raise BadInput(f"file: expected at least {shortest} bytes after leading white space, got {len(head)}")
        row = np.full(self.config["beg_size"] + self.config["end_size"], self.config["padding_token"], np.int32)
        row[: len(head)] = np.frombuffer(head, np.uint8)
        row[len(row) - len(tail) :] = np.frombuffer(tail, np.uint8)
        return row

    def label(self, label: str, score: float) -> str:
        """The model's label, or a general one where its score is below what this label asks for."""
        certain = score >= self.config["thresholds"].get(label, self.config["medium_confidence_threshold"])
        label = self.config["overwrite_map"].get(label, label)
        if certain:
            return label
        return "txt" if self.types[label]["is_text"] else "unknown"
