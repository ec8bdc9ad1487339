"""The ONNX Runtime behind its port: text arrives as text, and what cannot be text is its caller's fault."""

from pathlib import Path

import numpy as np
import pytest

from fastgshare.node_manager.devices.faults import InputUnusable, ModelFault
from fastgshare.node_manager.devices.onnx_runtime import OnnxRuntime
from fastgshare.node_manager.devices.ports import HostSession, StoredModel
from fastgshare.shared.objects import digest_of
from tests.integration import models
from tests.node_manager.devices.contract import WIDTH
from tests.node_manager.models import scaled


def loaded(path: Path) -> HostSession:
    return OnnxRuntime().load(StoredModel(digest_of(path), path, "onnx")).session(1)


def test_bytes_are_put_to_the_model_as_the_text_they_are(tmp_path: Path) -> None:
    session = loaded(models.words_and_numbers(tmp_path / "words.onnx"))
    word = np.array([["größer".encode()], [b""]], dtype=object)
    outputs = session.run({"word": word, "number": np.array([[1], [2]])})
    assert outputs["said"].tolist() == [["größer"], [""]]
    with pytest.raises(InputUnusable, match="input 'word' is for text, expected UTF-8"):
        session.run({"word": np.array([[b"\xff"]], dtype=object), "number": np.array([[1]])})


def test_a_model_that_does_not_load_and_one_that_fails_say_why(tmp_path: Path) -> None:
    with pytest.raises(ModelFault) as broken:
        loaded(models.broken(tmp_path / "broken.onnx"))
    assert "Protobuf parsing failed" in broken.value.reason
    session = loaded(models.picky(tmp_path / "picky.onnx"))
    assert session.run({"index": np.array([3, 0])})["y"].tolist() == [30, 0]
    with pytest.raises(ModelFault, match="out of data bounds"):
        session.run({"index": np.array([7])})


def test_what_was_begun_while_its_replica_moved_runs_to_its_end(tmp_path: Path) -> None:
    """A quick model's batch runs on the event loop's thread, its replica's thread moves and closes what it ran on."""
    path = scaled(tmp_path / "m.onnx", 2.0)
    model = OnnxRuntime().load(StoredModel(digest_of(path), path, "onnx"))
    before, after = model.session(1), model.session(1)
    before.close()
    before.close()
    x = np.ones((1, WIDTH), np.float32)
    assert before.run({"x": x})["y"].tolist() == after.run({"x": x})["y"].tolist() == [[2.0] * WIDTH]
    after.close()
