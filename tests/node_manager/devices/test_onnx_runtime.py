"""The ONNX Runtime behind its port: text arrives as text, and what cannot be text is its caller's fault."""

from pathlib import Path

import numpy as np
import pytest

from fastgshare.node_manager.devices.faults import InputUnusable, ModelFault
from fastgshare.node_manager.devices.onnx_runtime import OnnxRuntime
from tests.integration import models


def test_bytes_are_put_to_the_model_as_the_text_they_are(tmp_path: Path) -> None:
    session = OnnxRuntime().load(models.words_and_numbers(tmp_path / "words.onnx"), 1)
    word = np.array([["größer".encode()], [b""]], dtype=object)
    outputs = session.run({"word": word, "number": np.array([[1], [2]])})
    assert outputs["said"].tolist() == [["größer"], [""]]
    with pytest.raises(InputUnusable, match="input 'word' is for text, expected UTF-8"):
        session.run({"word": np.array([[b"\xff"]], dtype=object), "number": np.array([[1]])})


def test_a_model_that_does_not_load_and_one_that_fails_say_why(tmp_path: Path) -> None:
    with pytest.raises(ModelFault) as broken:
        OnnxRuntime().load(models.broken(tmp_path / "broken.onnx"), 1)
    assert "Protobuf parsing failed" in broken.value.reason
    session = OnnxRuntime().load(models.picky(tmp_path / "picky.onnx"), 1)
    assert session.run({"index": np.array([3, 0])})["y"].tolist() == [30, 0]
    with pytest.raises(ModelFault, match="out of data bounds"):
        session.run({"index": np.array([7])})
