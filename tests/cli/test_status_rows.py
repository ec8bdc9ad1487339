"""What `fastgshare status` writes about tables and about the time that replicas had."""

import pytest
from msgspec.structs import replace

from fastgshare.cli.commands.status import function_row, notes, replica_rows
from fastgshare.client.status import FunctionState
from fastgshare.shared.ids import DeviceId, FunctionName, HostId, NodeId, ReplicaId
from fastgshare.shared.messages import (
    DeviceStatus,
    FunctionSpec,
    ModelRef,
    NodeStatus,
    ProfileState,
    ReplicaState,
    ReplicaStatus,
    ReplicaUse,
)
from tests.client.tables import DIGEST, KIND, table

NAME = FunctionName("echo")
LOAN = ReplicaId("echo-loan-1-1")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, f"{KIND} complete"),
        ({"state": ProfileState.MEASURING}, f"{KIND} measuring, 18 points"),
        ({"state": ProfileState.MEASURING, "points": table().points[:1]}, f"{KIND} measuring, 1 point"),
        ({"state": ProfileState.FAILED, "reason": "it was lost"}, f"{KIND} failed: it was lost"),
        (
            {"state": ProfileState.FAILED, "reason": "the model takes no batch of 4: expected a dimension of 1 here"},
            f"{KIND} failed: the model takes no batch of 4: expected a dimension of 1 ...",
        ),
    ],
)
def test_a_table_tells_how_far_it_is_or_why_it_is_not(changes: dict[str, object], told: str) -> None:
    spec = FunctionSpec(name=NAME, model=ModelRef(digest=DIGEST, size_bytes=1), slo_ms=100.0)
    state = FunctionState(spec=spec, wanted=1, ready=1, serving=1, replicas=[], profiles=[table(**changes)], reasons=[])
    assert function_row(state)[5] == told


def test_the_last_cold_start_is_told_where_there_was_one() -> None:
    spec = FunctionSpec(name=NAME, model=ModelRef(digest=DIGEST, size_bytes=1), slo_ms=100.0)
    state = FunctionState(spec=spec, wanted=0, ready=0, serving=0, replicas=[], profiles=[], reasons=[])
    assert notes(state) == []
    text = "from no replica to the first answer in 412 ms"
    assert notes(replace(state, cold_start=text)) == [f"last {text}"]


@pytest.mark.parametrize(("time_share", "had"), [(0.254, "25%"), (1.0, "100%"), (3.7, "100%")])
def test_a_batch_that_began_before_the_heartbeat_is_no_more_than_all_the_time(time_share: float, had: str) -> None:
    device = DeviceStatus(
        device=DeviceId("d0"), kind=KIND, chunks=8, memory_mib=1, use={LOAN: ReplicaUse(time_share=time_share)}
    )
    lent = ReplicaStatus(
        replica=LOAN,
        function=NAME,
        generation=1,
        node=NodeId("n0"),
        host=HostId("h0"),
        incarnation="i0",
        device=device.device,
        device_kind=KIND,
        model_digest=DIGEST,
        state=ReplicaState.READY,
        loan="profiler-1",
    )
    (row,) = replica_rows(
        [lent], [NodeStatus(node=NodeId("n0"), host=HostId("h0"), incarnation="i0", at_us=1, devices=(device,))]
    )
    assert row[4] == had
