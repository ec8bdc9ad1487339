"""The pure parts of the examples: what handlers do around their models, and the demo's inputs."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from examples.demo.inputs import Example, all_examples, made_files, repository_files, text_lines, turned_lines
from fastgshare.shared.handler import BadInput, HandlerContext

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIG = {
    "beg_size": 16,
    "end_size": 16,
    "block_size": 64,
    "padding_token": 256,
    "min_file_size_for_dl": 8,
    "medium_confidence_threshold": 0.5,
    "thresholds": {"markdown": 0.75},
    "overwrite_map": {"randomtxt": "txt"},
    "target_labels_space": ["png", "markdown", "randomtxt"],
}
TYPES = {"png": {"is_text": False}, "markdown": {"is_text": True}, "txt": {"is_text": True}}
PADDING = CONFIG["padding_token"]


def load(function: str) -> ModuleType:
    """A handler's module, loaded by path as the platform does."""
    path = EXAMPLES / "functions" / function / "handler.py"
    spec = importlib.util.spec_from_file_location(f"handler_of_{function}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


filetype, ocr = load("filetype"), load("ocr")


def context(directory: Path, **model_metadata: str) -> HandlerContext:
    return HandlerContext("tried", directory, model_metadata, (), ())


@pytest.fixture
def file_type(tmp_path: Path) -> Any:
    (tmp_path / "config.min.json").write_text(json.dumps(CONFIG))
    (tmp_path / "content_types_kb.min.json").write_text(json.dumps(TYPES))
    return filetype.FileType(context(tmp_path))


def test_a_short_file_is_padded_after_its_beginning_and_before_its_end(file_type: Any) -> None:
    row = file_type.features(b" \n import os\n")
    assert row.dtype == np.int32
    assert row.tolist() == [*b"import os\n", *[PADDING] * 6, *[PADDING] * 4, *b" \n import os"]


def test_of_a_long_file_only_its_beginning_and_end_count(file_type: Any) -> None:
    content = bytes(range(64, 96)) + bytes(1000) + bytes(range(128, 160)) + b"\n\n"
    assert file_type.features(content).tolist() == [*range(64, 80), *range(144, 160)]


def test_white_space_beyond_a_block_hides_what_follows_it(file_type: Any) -> None:
    with pytest.raises(BadInput, match="at least 8 bytes"):
        file_type.features(b" " * 64 + b"import os, sys")


@pytest.mark.parametrize("content", [b"", b"1234567", b"\n\n   1234567"])
def test_a_file_too_short_to_tell_is_the_callers_fault(file_type: Any, content: bytes) -> None:
    with pytest.raises(BadInput, match="at least 8 bytes"):
        file_type.preprocess({"file": np.array([content], dtype=object)})


@pytest.mark.parametrize(
    ("scores", "label"),
    [
        ([0.6, 0.4, 0.0], b"png"),
        ([0.4, 0.3, 0.3], b"unknown"),
        ([0.1, 0.8, 0.1], b"markdown"),
        ([0.1, 0.7, 0.2], b"txt"),
        ([0.1, 0.1, 0.8], b"txt"),
    ],
)
def test_a_label_is_given_only_where_the_model_is_sure_enough(
    file_type: Any, scores: list[float], label: bytes
) -> None:
    answer = file_type.postprocess({"target_label": np.array([scores], np.float32)})
    assert answer["label"].tolist() == [label]
    assert answer["score"].tolist() == [np.float32(max(scores))]


def steps(*classes: int) -> np.ndarray:
    """Probabilities [steps, 4] that favour these classes with 0.7."""
    return np.where(np.arange(4) == np.array(classes)[:, np.newaxis], 0.7, 0.1)


def test_ctc_merges_repeats_and_drops_blanks() -> None:
    text, confidence = ocr.ctc_decode(steps(0, 1, 1, 0, 1, 2, 2, 0, 3), ["", "a", "b", " "])
    assert text == "aab "
    assert confidence == pytest.approx(0.7)


def test_ctc_of_blanks_alone_is_the_empty_text() -> None:
    assert ocr.ctc_decode(steps(0, 0, 0), ["", "a", "b", " "]) == ("", 0.0)


def test_the_recogniser_strips_the_spaces_that_margins_read_as(tmp_path: Path) -> None:
    handler = ocr.TextLine(context(tmp_path, character="a\nb"))
    answer = handler.postprocess({"softmax": steps(3, 1, 3, 2, 3)[np.newaxis].astype(np.float32)})
    assert answer["text"].tolist() == [b"a b"]
    assert answer["confidence"].dtype == np.float32


def test_resampling_is_linear_between_pixel_centres() -> None:
    column = np.array([0.0, 4.0], np.float32).reshape(2, 1, 1)
    assert ocr.resized(column, 4, axis=0).ravel().tolist() == [0, 1, 3, 4]
    assert ocr.resized(np.arange(4.0).reshape(1, 4, 1), 2, axis=1).ravel().tolist() == [0.5, 2.5]


def test_a_line_becomes_a_padded_batch_of_one_with_blue_first() -> None:
    red = np.zeros((96, 200, 3), np.uint8)
    red[:, :, 0] = 255
    batch = ocr.model_input(red, 320)
    assert batch.shape == (1, 3, 48, 320)
    assert batch.dtype == np.float32
    assert np.all(batch[0, 2, :, :100] == 1)
    assert np.all(batch[0, :2, :, :100] == -1)
    assert np.all(batch[0, :, :, 100:] == 0)


@pytest.mark.parametrize(("width", "padded"), [(1, 320), (320, 320), (321, 480), (900, 960), (5000, 1440)])
def test_lines_of_similar_length_get_the_same_width(tmp_path: Path, width: int, padded: int) -> None:
    handler = ocr.TextLine(context(tmp_path, character="a"))
    image = np.zeros((48, width, 3), np.uint8)
    assert handler.preprocess({"image": image})["x"].shape == (1, 3, 48, padded)


@pytest.mark.parametrize("shape", [(48, 100, 3), (31, 900, 3), (1, 1, 3)])
def test_the_direction_classifier_sees_one_width_only(tmp_path: Path, shape: tuple[int, ...]) -> None:
    handler = ocr.TextDirection(context(tmp_path))
    assert handler.preprocess({"image": np.zeros(shape, np.uint8)})["x"].shape == (1, 3, 48, 192)
    assert handler.postprocess({"p": np.array([[0.25, 0.75]], np.float32)})["label"].tolist() == [b"180"]


def test_an_image_without_pixels_is_the_callers_fault(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="at least one pixel"):
        ocr.TextDirection(context(tmp_path)).preprocess({"image": np.zeros((48, 0, 3), np.uint8)})


def fingerprint(examples: list[Example]) -> list[tuple[str, str, str, list[bytes]]]:
    return [
        (example.function, example.name, example.expected, [array_bytes(a) for a in example.inputs.values()])
        for example in examples
    ]


def array_bytes(array: np.ndarray) -> bytes:
    return b"".join(array) if array.dtype == object else array.tobytes()


def test_the_same_seed_makes_the_same_inputs_and_another_seed_others(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import sys\n")
    first, again, other = (all_examples(tmp_path, seed, lines=5) for seed in (1, 1, 2))
    assert first.keys() == {"filetype", "ocr", "textdir"}
    for function, examples in first.items():
        assert fingerprint(examples) == fingerprint(again[function])
        assert fingerprint(examples) != fingerprint(other[function])


def test_files_are_found_by_name_and_made_ones_left_out(tmp_path: Path) -> None:
    for name in ("b/Makefile", "b/x.toml", "a.md", ".venv/c.py", "reports/d.json", "e.unknown", "f.lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("something long enough")
    (tmp_path / "__init__.py").write_text("\n")
    (tmp_path / "LICENSE").symlink_to(tmp_path / "a.md")
    found = {example.name: example.expected for example in repository_files(tmp_path)}
    assert found == {"a.md": "markdown", "b/Makefile": "makefile", "b/x.toml": "toml"}


def test_made_files_are_what_they_say() -> None:
    starts = {
        "bmp": b"BM",
        "bzip": b"BZh",
        "elf": b"\x7fELF",
        "gif": b"GIF8",
        "gzip": b"\x1f\x8b",
        "jpeg": b"\xff\xd8\xff",
        "npy": b"\x93NUMPY",
        "pdf": b"%PDF-1.4",
        "pickle": b"\x80",
        "png": b"\x89PNG",
        "sqlite": b"SQLite format 3\0",
        "tiff": b"II*\0",
        "wav": b"RIFF",
        "webp": b"RIFF",
        "xz": b"\xfd7zXZ",
        "zip": b"PK\x03\x04",
    }
    made = {example.expected: example.inputs["file"][0] for example in made_files(seed=3)}
    assert made.keys() - starts.keys() == {"pythonbytecode", "tar"}  # these two carry no fixed beginning
    for kind, start in starts.items():
        assert made[kind].startswith(start), kind


def test_a_turned_line_is_the_drawn_one_upside_down() -> None:
    drawn = [example.inputs["image"] for example in text_lines(seed=4, count=20)]
    turned = list(turned_lines(seed=4, count=20))
    assert {example.expected for example in turned} == {"0", "180"}
    for image, example in zip(drawn, turned, strict=True):
        back = np.rot90(example.inputs["image"], 2 if example.expected == "180" else 0)
        assert np.array_equal(back, image)


def test_an_answer_is_right_whatever_its_white_space() -> None:
    example = Example("ocr", "", {}, answer="text", expected="two words")
    assert example.is_right({"text": np.array([b" two  words\n"], dtype=object)})
    assert not example.is_right({"text": np.array([b"two word"], dtype=object)})
