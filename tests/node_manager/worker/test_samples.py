"""A function's sample is its user's: whatever it holds, it is either inputs that fit or a reason why not."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.onnx_runtime import OnnxRuntime, OnnxSession
from fastgshare.node_manager.devices.ports import ModelInfo, StoredModel
from fastgshare.node_manager.worker import samples
from fastgshare.node_manager.worker.samples import SampleInvalid, one_row, random_rows, read_sample
from fastgshare.shared.arrays import Array, to_tensor
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import Digest
from tests.node_manager import models

X = (TensorSpec("x", "FP32", (-1, 2)),)
TEXT = (TensorSpec("text", "BYTES", (-1,)),)


def npz(**arrays: Array) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for `allow_pickle`
    return file.getvalue()


def sample(path: Path, name: str, content: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path / "sample.zip", "w", compression) as bundle:
        bundle.writestr(name, content)
    return path / "sample.zip"


def patched(path: Path, offset_after: bytes, offset: int, value: bytes) -> Path:
    """The zip with some bytes of every header that begins with `offset_after` replaced."""
    data = bytearray(path.read_bytes())
    at = data.find(offset_after)
    while at >= 0:
        data[at + offset : at + offset + len(value)] = value
        at = data.find(offset_after, at + 4)
    path.write_bytes(data)
    return path


LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"


def test_arrays_and_raw_content_that_fit_are_inputs(tmp_path: Path) -> None:
    x = np.ones((3, 2), np.float32)
    tensors = read_sample(sample(tmp_path, "in.npz", npz(x=x)), X)
    assert tensors == (to_tensor("x", x),)
    assert read_sample(sample(tmp_path, "in.txt", b"hello"), TEXT)[0].shape == (1,)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"x": np.float32(1)}, "has shape"),
        ({"x": np.ones((1, 3), np.float32)}, "has shape"),
        ({"x": np.ones((1, 2), np.float64)}, "has datatype FP64"),
        ({"y": np.ones((1, 2), np.float32)}, "missing"),
        ({"x": np.ones((1, 2), np.complex64)}, "no tensor datatype"),
        ({"x": np.array([[None, {}]], dtype=object)}, "cannot be read"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, Array], reason: str) -> None:
    with pytest.raises(SampleInvalid, match=reason):
        read_sample(sample(tmp_path, "in.npz", npz(**arrays)), X)


def test_damaged_encrypted_and_exotic_zips_are_refused(tmp_path: Path) -> None:
    content = b"hello" * 100

    def made() -> Path:
        return sample(tmp_path, "in.txt", content, zipfile.ZIP_DEFLATED)

    damaged = patched(made(), LOCAL, 30 + len("in.txt"), b"\xff\xff\xff")
    with pytest.raises(SampleInvalid, match="cannot be read"):  # zlib.error
        read_sample(damaged, TEXT)
    encrypted = patched(patched(made(), LOCAL, 6, b"\x01"), CENTRAL, 8, b"\x01")
    with pytest.raises(SampleInvalid, match="encrypted"):  # RuntimeError
        read_sample(encrypted, TEXT)
    exotic = patched(patched(made(), LOCAL, 8, b"\x63"), CENTRAL, 10, b"\x63")
    with pytest.raises(SampleInvalid, match="compression"):  # NotImplementedError
        read_sample(exotic, TEXT)
    (tmp_path / "no.zip").write_bytes(b"no zip")
    with pytest.raises(SampleInvalid, match="not a zip"):
        read_sample(tmp_path / "no.zip", TEXT)


def test_what_unpacks_to_too_much_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "MAX_UNPACKED_BYTES", 10_000)
    with pytest.raises(SampleInvalid, match="unpacks to 20000 bytes"):
        read_sample(sample(tmp_path, "in.txt", bytes(20_000), zipfile.ZIP_DEFLATED), TEXT)
    inner = io.BytesIO()
    np.savez_compressed(inner, x=np.zeros((5_000, 2), np.float32))
    with pytest.raises(SampleInvalid, match="unpacks to 40128 bytes"):
        read_sample(sample(tmp_path, "in.npz", inner.getvalue()), X)


def test_one_row_of_what_fits_the_model() -> None:
    info = ModelInfo(inputs=X, outputs=X, metadata={})
    row = one_row((to_tensor("x", np.ones((3, 2), np.float32)),), info)
    assert row["x"].shape == (1, 2)
    with pytest.raises(SampleInvalid, match="0 rows"):
        one_row((to_tensor("x", np.ones((0, 2), np.float32)),), info)
    with pytest.raises(SampleInvalid, match="has shape"):
        one_row((to_tensor("x", np.ones((), np.float32)),), info)


def tokens(*extra: TensorSpec) -> ModelInfo:
    ids = TensorSpec("input_ids", "INT64", (-1, -1))
    mask = TensorSpec("attention_mask", "INT64", (-1, -1))
    names = ("batch", "sequence")
    axes: dict[str, tuple[str, ...]] = {"input_ids": names, "attention_mask": names}
    return ModelInfo(inputs=(ids, mask, *extra), outputs=(), metadata={}, axes=axes)


def test_axes_of_one_name_are_of_one_length_and_the_batch_is_one_row() -> None:
    words, row = next(random_rows(tokens()))
    assert words == "32"
    assert {name: array.shape for name, array in row.items()} == {"input_ids": (1, 32), "attention_mask": (1, 32)}


def test_integers_are_valid_in_every_vocabulary_and_masks_hide_nothing() -> None:
    lengths = TensorSpec("lengths", "INT32", (-1,))
    _, row = next(random_rows(tokens(lengths)))
    assert not row["input_ids"].any()
    assert row["attention_mask"].all()
    assert row["lengths"].tolist() == [32]


def test_an_axis_with_the_name_of_the_batch_is_part_of_it() -> None:
    spec = TensorSpec("x", "FP32", (-1, -1, 2))
    info = ModelInfo(inputs=(spec,), outputs=(), metadata={}, axes={"x": ("n", "n", "")})
    assert [(words, row["x"].shape) for words, row in random_rows(info)] == [("", (1, 1, 2))]


def test_images_are_tried_with_three_channels_and_one() -> None:
    info = ModelInfo(inputs=(TensorSpec("x", "FP32", (-1, -1, -1, -1)),), outputs=(), metadata={})
    shapes = [row["x"].shape for _, row in random_rows(info)]
    assert shapes[0] == (1, 32, 32, 32)
    assert {(1, 3, 224, 224), (1, 1, 224, 224), (1, 224, 224, 3)} < set(shapes)


def test_inputs_that_would_be_too_large_are_not_tried() -> None:
    info = ModelInfo(inputs=(TensorSpec("x", "FP64", (-1, *[-1] * 4)),), outputs=(), metadata={})
    assert [row["x"].shape[1] for _, row in random_rows(info)] == [32, 1]


@pytest.mark.parametrize("width", [7, 32, 64, 224])
def test_an_onnx_model_names_its_axes_and_takes_one_of_the_lengths(tmp_path: Path, width: int) -> None:
    model = OnnxRuntime().load(StoredModel(Digest("a" * 64), models.reshape_to(tmp_path / "m.onnx", width), "onnx"))
    assert model.info.axes == {"x": ("batch", "width")}
    session = model.session(1)
    taken = [words for words, row in random_rows(model.info) if _runs(session, row)]
    assert taken == {7: ["224"], 32: ["32", "64", "224", "128"], 64: ["64", "128"], 224: ["224"]}[width]


def _runs(session: OnnxSession, row: dict[str, Array]) -> bool:
    try:
        session.run(row)
    except ModelFault:
        return False
    return True
