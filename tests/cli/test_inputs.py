"""From command-line words to tensors and back."""

import json
from pathlib import Path

import numpy as np
import pytest

from fastgshare.cli.inputs import parse_file, parse_input, parse_json, to_json, to_line
from fastgshare.cli.running import Usage
from fastgshare.client.values import Result
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import AttemptId, ReplicaId
from fastgshare.shared.messages import Signature, Timing

TAKES_FILE = Signature(inputs=(TensorSpec("file", "BYTES", (1,)),), outputs=())
TAKES_NUMBERS = Signature(inputs=(TensorSpec("x", "FP32", (-1, 2)), TensorSpec("n", "INT64", (1,))), outputs=())


def test_json_numbers_take_the_signatures_type() -> None:
    name, value = parse_input("x=[[1, 2], [3, 4]]", TAKES_NUMBERS)
    assert name == "x"
    assert isinstance(value, np.ndarray)
    assert value.dtype == np.float32
    assert value.shape == (2, 2)
    _, other = parse_input("other=[1.5]", TAKES_NUMBERS)
    assert isinstance(other, np.ndarray)
    assert other.dtype == np.float64


def test_text_becomes_bytes_elements() -> None:
    for option in ('file="hello"', 'file=["hello"]'):
        _, value = parse_input(option, TAKES_FILE)
        assert isinstance(value, np.ndarray)
        assert value.dtype == object
        assert value.tolist() == ["hello"]
    _, value = parse_input('t=[["a", "b"]]', None)
    assert isinstance(value, np.ndarray)
    assert value.shape == (1, 2)


def test_files_are_arrays_or_content(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(3))
    (tmp_path / "raw.bin").write_bytes(b"\x00\xff")
    _, array = parse_input(f"x=@{tmp_path / 'x.npy'}", None)
    np.testing.assert_array_equal(np.asarray(array), np.arange(3))
    assert parse_input(f"x=@{tmp_path / 'raw.bin'}", None) == ("x", b"\x00\xff")
    assert parse_file(tmp_path / "raw.bin", "f", TAKES_FILE) == {"file": b"\x00\xff"}


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("x", "expected name=JSON, name=@file.npy or name=@file"),
        ("x=[1,", "--input x is neither JSON nor @file"),
        ("x=@/no/such/file", "cannot read /no/such/file: No such file or directory"),
        ("x=[[1, 2], [3]]", "input x cannot be FP32: rows differ in length"),
        ('n=["a"]', "input n cannot be INT64"),
    ],
)
def test_what_cannot_be_an_input_is_told(option: str, problem: str) -> None:
    with pytest.raises(Usage) as caught:
        parse_input(option, TAKES_NUMBERS)
    assert problem in str(caught.value)


def test_an_npz_gives_its_arrays_by_name(tmp_path: Path) -> None:
    path = tmp_path / "line.npz"
    np.savez(path, x=np.ones((1, 2)), n=np.arange(1))
    name, array = parse_input(f"n=@{path}", None)
    assert name == "n"
    assert np.asarray(array).tolist() == [0]
    assert parse_file(path, "f", TAKES_NUMBERS).keys() == {"x", "n"}
    with pytest.raises(Usage, match=r"line.npz holds x, n, expected an array 'z'"):
        parse_input(f"z=@{path}", None)
    np.savez(path, np.arange(3))
    assert np.asarray(parse_input(f"z=@{path}", None)[1]).tolist() == [0, 1, 2]
    path.write_bytes(b"none")
    with pytest.raises(Usage, match="cannot read"):
        parse_input(f"z=@{path}", None)


def test_a_pickle_in_a_npy_file_is_not_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(Usage, match="cannot read"):
        parse_input(f"x=@{tmp_path / 'x.npy'}", None)


def test_a_single_file_needs_a_function_that_takes_one(tmp_path: Path) -> None:
    with pytest.raises(Usage, match=r"'f' does not take a single file, it takes x \(FP32\), n \(INT64\)"):
        parse_file(tmp_path, "f", TAKES_NUMBERS)
    with pytest.raises(Usage, match=r"no replica of 'f' is there before it is called, .*: use --input NAME=@"):
        parse_file(tmp_path, "f", None)


def test_a_protocol_body_gives_inputs_and_wanted_outputs() -> None:
    body = {
        "inputs": [
            {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]},
            {"name": "t", "shape": [1], "datatype": "BYTES", "data": ["a"]},
            {"name": "n", "data": [7]},
        ],
        "outputs": [{"name": "y"}],
    }
    inputs, outputs = parse_json(json.dumps(body), TAKES_NUMBERS)
    assert outputs == ["y"]
    arrays = {name: np.asarray(value) for name, value in inputs.items()}
    assert arrays["x"].dtype == np.float32
    assert arrays["x"].shape == (1, 2)
    assert arrays["t"].tolist() == ["a"]
    assert arrays["n"].dtype == np.int64


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "--json does not read as"),
        ("{", "--json does not read as"),
        ('{"inputs": [{"data": [1]}]}', "--json does not read as"),
        ('{"inputs": [{"name": "x", "data": [1], "datatype": "FP33"}]}', "input x has datatype 'FP33', expected"),
        ('{"inputs": [{"name": "x", "data": [1], "shape": [2]}]}', "input x has shape [2] and 1 elements"),
    ],
)
def test_a_body_that_is_none_is_told(text: str, problem: str) -> None:
    with pytest.raises(Usage) as caught:
        parse_json(text, None)
    assert problem in str(caught.value)


def test_answers_are_told_as_protocol_json_and_as_lines() -> None:
    labels = np.array([b"python", b"\xff"], dtype=object)
    scores = np.linspace(0, 1, 40, dtype=np.float32)
    timing = Timing(queue_us=1, execute_us=2, batch=3)
    result = Result({"label": labels, "score": scores}, ReplicaId("r"), AttemptId("a.1"), timing)
    body = json.loads(json.dumps(to_json("f", result)))
    assert body["model_name"] == "f"
    assert body["outputs"][0] == {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["python", "\\xff"]}
    assert body["parameters"]["batch"] == 3
    assert to_line("label", labels) == "label  BYTES [2]  python \\xff"
    assert to_line("score", scores).startswith("score  FP32 [40]  0 0.025641")
    assert to_line("score", scores).endswith("... (40 in all)")
