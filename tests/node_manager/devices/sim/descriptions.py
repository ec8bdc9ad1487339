"""Sim models as files, made as they are needed."""

import json
from pathlib import Path

from fastgshare.node_manager.devices.ports import StoredModel
from fastgshare.shared.objects import digest_of

# Takes 1000 + 1000 a row on the whole device, and on half of it 1000 + 2000 a row: sums that a test can do.
PLAIN_CURVE = {"floor_us": 1_000, "work_us": 1_000, "fixed": 1.0}


def description(**changed: object) -> dict[str, object]:
    """A model y = x over [batch, 8], with `changed` fields; a field set to None is left out."""
    fields: dict[str, object] = {
        "curve": PLAIN_CURVE,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 8]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 8]}],
        "weights_mib": 64,
        **changed,
    }
    return {name: value for name, value in fields.items() if value is not None}


def stored(path: Path, content: dict[str, object] | bytes) -> StoredModel:
    """The description written to `path`."""
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return StoredModel(digest_of(path), path, "sim")
