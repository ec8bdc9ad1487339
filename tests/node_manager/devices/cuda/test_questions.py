"""Those questions of `make gpu-check` that are about the driver alone, asked of the stub."""

import pytest

from benchmarks.gpu_check import check
from tests.node_manager.devices.cuda.stub import Stub

pytest.importorskip("cuda.bindings", reason="the driver is called through cuda-bindings, which is missing here")

from benchmarks.gpu_check import questions


def test_the_questions_about_the_driver_alone_are_answered_by_the_stub(stub: Stub) -> None:
    found = questions.chunks()
    assert found["chunk_sms"] == (8,) * 16
    assert found["spare_sms"] == 4
    assert found["all_chunks_together"] == "yes"
    assert "INVALID_RESOURCE_CONFIGURATION" in found["remainder_alone"]
    stub.reset()
    assert questions.costs()["all_chunks"]["create_us"] > 0
    assert questions.events()["empty_device_us"] >= 1
    assert set(questions.ALL) == set(check.QUESTIONS)
    assert not any("LEAKS" in line for line in stub.log())
