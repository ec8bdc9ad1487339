"""Names that people and devices choose become subject tokens and bucket keys, or are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.js.kv import _is_key_valid

from fastgshare.shared import subjects
from fastgshare.shared.ids import Digest, FunctionName, NodeId, ReplicaId, is_name

DIGEST = Digest("ab" * 32)


@pytest.mark.parametrize("name", ["a", "0", "file-type_2", "x" * 63])
def test_names_that_may_stand(name: str) -> None:
    assert is_name(name)
    assert _is_key_valid(subjects.fleet_key(NodeId(name), ReplicaId(f"{name}-g1-0a1b2c")))


@pytest.mark.parametrize("name", ["", "-a", "_a", "A", "ä", "a.b", "a*", ">", "a b", "a\n", "x" * 64, "a/b"])
def test_names_that_may_not(name: str) -> None:
    assert not is_name(name)


@given(kind=st.text(min_size=1, max_size=40))
def test_whatever_a_device_calls_itself_its_tables_and_leases_have_keys(kind: str) -> None:
    key = subjects.profile_key(DIGEST, kind)
    assert _is_key_valid(key)
    assert _is_key_valid(subjects.profile_lease(key))
    assert key.split(".")[0] == DIGEST
    assert len(key.split(".")) == 2


def test_plain_kinds_keep_their_name() -> None:
    assert subjects.profile_key(DIGEST, "cpu") == f"{DIGEST}.cpu"


def test_an_event_is_found_by_its_function_and_stands_without_one() -> None:
    assert subjects.event("replica_ready", "echo") == "fast.event.replica_ready.echo"
    assert subjects.function_events(FunctionName("echo")) == "fast.event.*.echo"
    assert subjects.event("node_started") == "fast.event.node_started._"
