"""One copy of a model's weights per device, whoever comes and goes at once."""

import threading

import pytest

from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.store import ModelStore
from fastgshare.shared.ids import Digest
from tests.node_manager.devices.contract import WAIT_S, Outcome

MODEL = Digest("1" * 64)


class Weights:
    weights_mib = 4.0

    def __init__(self) -> None:
        self.closes = 0

    def close(self) -> None:
        self.closes += 1


def test_whoever_comes_during_a_load_waits_for_it_and_gets_the_same() -> None:
    store: ModelStore[Weights] = ModelStore()
    begun, go_on = threading.Event(), threading.Event()

    def slowly() -> Weights:
        begun.set()
        assert go_on.wait(WAIT_S)
        return Weights()

    first = Outcome(lambda: store.hold(MODEL, slowly))
    assert begun.wait(WAIT_S)
    second = Outcome(lambda: store.hold(MODEL, Weights))
    go_on.set()
    (loaded, was_loaded), (shared, was_shared) = first.finish(), second.finish()
    assert shared is loaded
    assert (was_loaded, was_shared) == (False, True)
    store.release(MODEL)
    assert loaded.closes == 0
    store.release(MODEL)
    assert loaded.closes == 1
    assert store.table() == ()


def test_a_load_that_fails_costs_its_own_holder_only() -> None:
    store: ModelStore[Weights] = ModelStore()
    begun, go_on = threading.Event(), threading.Event()

    def fails() -> Weights:
        begun.set()
        assert go_on.wait(WAIT_S)
        raise ModelFault(reason="it is torn")

    first = Outcome(lambda: store.hold(MODEL, fails))
    assert begun.wait(WAIT_S)
    second = Outcome(lambda: store.hold(MODEL, Weights))
    go_on.set()
    with pytest.raises(ModelFault, match="torn"):
        first.finish()
    kept, was_loaded = second.finish()
    assert not was_loaded
    [row] = store.table()
    assert row.replicas == 1
    store.release(MODEL)
    assert kept.closes == 1
