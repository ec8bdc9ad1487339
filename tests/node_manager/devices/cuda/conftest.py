"""Fixtures for tests of the cuda device on the stub driver."""

from collections.abc import Iterator

import pytest

from tests.node_manager.devices.cuda.stub import Stub, compile_stub, driver_of_this_process


@pytest.fixture(scope="session")
def loaded_stub(tmp_path_factory: pytest.TempPathFactory) -> Stub:
    pytest.importorskip(
        "cuda.bindings", reason="the stub driver is called through cuda-bindings, which is missing here"
    )
    mapped = driver_of_this_process()
    if mapped:
        pytest.skip(f"this process has loaded another driver, {mapped}, and cannot load the stub beside it")
    return Stub(compile_stub(tmp_path_factory.mktemp("stub")))


@pytest.fixture
def stub(loaded_stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    """The stub driver with empty books; whatever a test left is undone after it."""
    monkeypatch.setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32")  # set by the device itself; here so that it is undone
    loaded_stub.reset()
    yield loaded_stub
    loaded_stub.reset()
