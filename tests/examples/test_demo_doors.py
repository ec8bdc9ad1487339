"""The demo's HTTP door writes what the gateway reads, and reads what it writes."""

import msgspec
import numpy as np
import pytest

from examples.demo.books import Ledger
from examples.demo.doors import JSON_BYTES, NoWord, decode, encode
from fastgshare.client import RequestRefused
from fastgshare.gateway.oip import decode_request
from fastgshare.shared.arrays import to_array
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.ids import FunctionName, GatewayId
from fastgshare.shared.messages import FunctionLoad, GatewayLoad

IMAGE = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
TEXT = np.array(["zwölf".encode()], dtype=object)
BINARY = np.array([b"\xff\x00"], dtype=object)


def through_the_gateway(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The request's inputs as the gateway understands them."""
    body, headers = encode(inputs)
    length = headers.get(JSON_BYTES)
    decoded = decode_request(body, None if length is None else int(length))
    return {tensor.name: to_array(tensor) for tensor in decoded.request.inputs}


@pytest.mark.parametrize("inputs", [{"image": IMAGE}, {"file": TEXT}, {"file": BINARY}, {"a": TEXT, "b": IMAGE}])
def test_the_gateway_reads_the_very_inputs(inputs: dict[str, np.ndarray]) -> None:
    found = through_the_gateway(inputs)
    assert found.keys() == inputs.keys()
    for name, array in inputs.items():
        assert found[name].dtype == array.dtype
        assert found[name].tolist() == array.tolist()


def test_text_goes_as_json_and_everything_else_as_binary() -> None:
    assert msgspec.json.decode(encode({"file": TEXT})[0])["inputs"][0]["data"] == ["zwölf"]
    assert JSON_BYTES not in encode({"file": TEXT})[1]
    assert encode({"image": IMAGE})[0].endswith(IMAGE.tobytes())


def test_answers_become_arrays() -> None:
    outputs = [
        {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["zwölf"]},
        {"name": "score", "datatype": "FP32", "shape": [1], "data": [0.5]},
    ]
    result = decode(200, msgspec.json.encode({"model_name": "ocr", "outputs": outputs}))
    assert result.outputs["text"].tolist() == ["zwölf".encode()]
    assert result.outputs["score"].dtype == np.float32


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, ErrorCode.OVERLOADED), (504, ErrorCode.DEADLINE_EXCEEDED), (500, ErrorCode.INTERNAL)],
)
def test_refusals_keep_their_reason(status: int, code: ErrorCode) -> None:
    with pytest.raises(RequestRefused) as caught:
        decode(status, b'{"error": "too much"}')
    assert (caught.value.body.code, caught.value.body.message) == (code, "too much")


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>"), (502, b"bad gateway"), (500, b'{"detail": 1}')])
def test_a_response_without_sense_is_no_word(status: int, body: bytes) -> None:
    with pytest.raises(NoWord, match=str(status)):
        decode(status, body)


def heartbeat(incarnation: str, **counts: int) -> GatewayLoad:
    functions = {FunctionName("ocr"): FunctionLoad(**counts)}
    return GatewayLoad(gateway=GatewayId("g"), incarnation=incarnation, at_us=0, functions=functions)


def test_the_books_are_settled_when_all_that_was_sent_arrived_and_ended() -> None:
    ledger = Ledger()
    ledger.sent["ocr"] = 5
    assert not ledger.is_settled()
    ledger.hear(heartbeat("a", arrived=5, answered=2, refused=1, failed=1))
    assert ledger.books()["ocr"].open == 1
    assert not ledger.is_settled()
    ledger.hear(heartbeat("a", arrived=5, answered=3, refused=1, failed=1))
    assert ledger.is_settled()


def test_a_gateway_that_starts_anew_counts_beside_its_former_self() -> None:
    ledger = Ledger()
    ledger.sent["ocr"] = 5
    ledger.hear(heartbeat("a", arrived=3, answered=3))
    ledger.hear(heartbeat("b", arrived=2, answered=2))
    assert ledger.is_settled()
