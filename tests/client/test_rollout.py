"""How far a deployed generation is, judged from what nodes report."""

from msgspec.structs import replace

from fastgshare.client.rollout import Broken, Ready, Waiting, judge
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, HostId, NodeId, ReplicaId
from fastgshare.shared.messages import Autoscale, FunctionSpec, ModelRef, ReplicaState, ReplicaStatus

NAME = FunctionName("echo")
SPEC = FunctionSpec(name=NAME, model=ModelRef(digest=Digest("ab" * 32), size_bytes=1), generation=2, replicas=2)


def replica(generation: int, state: ReplicaState, reason: str = "", transient: bool = False) -> ReplicaStatus:
    return ReplicaStatus(
        replica=ReplicaId(f"echo-g{generation}-abc"),
        function=NAME,
        generation=generation,
        node=NodeId("node"),
        device=DeviceId("node-cpu0"),
        host=HostId("host"),
        incarnation="1",
        state=state,
        device_kind="cpu",
        model_digest=SPEC.model.digest,
        reason=reason,
        transient=transient,
    )


def test_enough_ready_replicas_of_the_generation_are_ready() -> None:
    ready = replica(2, ReplicaState.READY)
    assert judge(SPEC, [ready, ready]) == Ready(2)
    assert judge(SPEC, [ready, replica(1, ReplicaState.READY)]) == Waiting("1 of 2 replicas ready")
    other = replace(ready, function=FunctionName("other"))
    assert isinstance(judge(SPEC, [ready, other]), Waiting)


def test_a_final_failure_breaks_it_and_tells_what_goes_on_serving() -> None:
    failed = replica(2, ReplicaState.FAILED, "input 'x' is missing")
    assert judge(SPEC, [failed]) == Broken("input 'x' is missing", 0)
    assert judge(SPEC, [failed, replica(1, ReplicaState.READY)]) == Broken("input 'x' is missing", 1)


def test_a_transient_failure_is_waited_for_and_told() -> None:
    failed = replica(2, ReplicaState.FAILED, "worker died", transient=True)
    loading = replica(2, ReplicaState.LOADING)
    assert judge(SPEC, [failed, loading]) == Waiting("0 of 2 replicas ready; 1 failed, 1 loading (worker died)")


def test_failures_of_other_generations_do_not_matter() -> None:
    failed = replica(1, ReplicaState.FAILED, "old")
    assert judge(SPEC, [failed]) == Waiting("0 of 2 replicas ready; no node has taken one up yet")


def test_a_newer_generation_that_serves_ends_the_wait() -> None:
    assert judge(SPEC, [replica(3, ReplicaState.READY)]) == Broken("generation 3 has replaced it", 3)


def test_a_function_that_may_scale_to_zero_needs_no_replica() -> None:
    spec = replace(SPEC, replicas=None, autoscale=Autoscale(min=0, max=4))
    assert judge(spec, []) == Ready(0)
    assert isinstance(judge(replace(spec, autoscale=Autoscale(min=1, max=4)), []), Waiting)


def test_a_replica_that_does_not_hold_its_new_quota_yet_is_waited_for() -> None:
    wanted = replace(SPEC, replicas=1, slice=replace(SPEC.slice, quota_request=0.2))
    before = replace(replica(2, ReplicaState.READY), slice=SPEC.slice, note="it keeps its slice: chunk 0 is full")
    assert judge(wanted, [before]) == Waiting(
        "0 of 1 replicas ready; 1 ready with the slice of before; it keeps its slice: chunk 0 is full"
    )
    assert judge(wanted, [replace(before, slice=wanted.slice)]) == Ready(1)
    chosen = replace(wanted, replicas=None, autoscale=Autoscale(min=1, policy="objective"))
    assert judge(chosen, [before]) == Ready(1), "whose slices are the scheduler's to choose"


def test_replicas_on_loan_to_the_profiler_are_none_of_the_function() -> None:
    lent = replace(replica(2, ReplicaState.READY), loan="profiler-1")
    assert judge(SPEC, [lent, lent]) == Waiting("0 of 2 replicas ready; no node has taken one up yet")
    broken = replace(replica(2, ReplicaState.FAILED, "it is broken"), loan="profiler-2")
    ready = replica(2, ReplicaState.READY)
    assert judge(SPEC, [broken, ready, ready]) == Ready(2)
    later = replace(replica(3, ReplicaState.READY), loan="profiler-3")
    assert judge(SPEC, [later]) == Waiting("0 of 2 replicas ready; no node has taken one up yet")
