"""The picture of a platform, fact by fact."""

from collections.abc import Callable
from itertools import permutations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.shared.ids import DeviceId, Digest, FunctionName
from fastgshare.shared.messages import (
    Autoscale,
    Event,
    Profile,
    ReplicaState,
    ServiceReady,
    Slice,
)
from fastgshare.shared.messages.profile import ProfileState
from fastgshare.shared.overview.fold import Overview
from fastgshare.shared.overview.view import DECISIONS, PlatformView
from fastgshare.shared.units import US_PER_S
from tests.shared.overview.platform import DEVICE, NOW_US, OCR, counts, node, replica, report, spec


def _event(kind: str, text: str = "", at_us: int = NOW_US, function: str = OCR, **fields: str | int) -> Event:
    return Event(kind=kind, source="s", at_us=at_us, function=function, text=text, fields={**fields})


def test_nothing_is_a_picture_too() -> None:
    view = Overview().view(NOW_US)
    assert view == PlatformView(at_us=NOW_US)
    assert msgspec.json.decode(msgspec.json.encode(view), type=PlatformView) == view


def test_a_device_shows_who_has_what_of_it_and_who_runs() -> None:
    overview = Overview()
    overview.replica("n1.r1", replica("r1", chunks=(0,), slice=Slice(quota_request=0.6)))
    overview.replica("n1.r2", replica("r2", function="doc", chunks=(0, 1), slice=Slice(quota_request=0.4)))
    overview.node(node({"r1": 0.5, "r2": 0.25}, running=("r2",), depth={"r1": 7}, gauges={"temp": 40.0}), NOW_US)
    (device,) = overview.view(NOW_US).devices
    assert (device.busy, device.promised, device.is_healthy) == (0.5, 0.7, True)
    assert device.gauges == {"temp": 40.0}
    doc, ocr = device.replicas
    assert (doc.replica, doc.is_running, doc.had, doc.pieces[0].chunks) == ("r2", True, 0.25, 2)
    assert (ocr.replica, ocr.is_running, ocr.depth, ocr.pieces[0].height) == ("r1", False, 7, 0.6)


def test_a_failed_replica_holds_nothing_and_a_loan_is_promised_nothing() -> None:
    overview = Overview()
    overview.function(OCR, spec())
    overview.replica("n1.r1", replica("r1", state=ReplicaState.FAILED, reason="it does not load"))
    overview.replica("n1.r2", replica("r2", loan="wish", slice=Slice(quota_request=0.5)))
    overview.node(node(), NOW_US)
    view = overview.view(NOW_US)
    failed, loan = view.devices[0].replicas
    assert (failed.pieces, failed.reason, failed.state) == ((), "it does not load", "failed")
    assert (loan.is_loan, loan.quota_request, loan.pieces[0].height) == (True, 0.0, 1.0)
    assert view.devices[0].promised == 0.0
    (function,) = view.functions
    assert (function.replicas, function.ready, function.reasons) == (1, 0, ("it does not load",))


def test_a_silent_node_is_told_of_and_then_let_go() -> None:
    overview = Overview()
    overview.replica("n1.r1", replica("r1"))
    overview.node(node({"r1": 1.0}, running=("r1",)), NOW_US)
    (device,) = overview.view(NOW_US + 10 * US_PER_S).devices
    assert (device.is_healthy, device.reason) == (False, "its node has been silent for 10 s")
    assert (device.busy, device.replicas[0].is_running) == (0.0, False)
    assert device.replicas[0].pieces
    (device,) = overview.view(NOW_US + 100 * US_PER_S).devices
    assert (device.is_healthy, device.reason) == (False, "its node is not heard")
    overview.replica("n1.r1", None)
    assert overview.view(NOW_US + 100 * US_PER_S).devices == ()


def test_how_busy_a_device_was_is_kept_as_a_line() -> None:
    overview = Overview()
    overview.replica("n1.r1", replica("r1", chunks=(0, 1)))
    for half in range(41):
        overview.node(node({"r1": 0.5 if half < 20 else 1.0}), NOW_US + half * US_PER_S // 2)
    spark = overview.view(NOW_US + 20 * US_PER_S).devices[0].busy_spark
    assert spark == (0.5, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0)


def test_a_function_shows_what_serves_it_and_what_is_known_of_its_model() -> None:
    overview = Overview()
    overview.function(OCR, spec(generation=3, replicas=None, autoscale=Autoscale(min=1, max=4, policy="objective")))
    overview.replica("n1.r1", replica("r1", generation=2))
    overview.replica("n1.r2", replica("r2", generation=3, state=ReplicaState.LOADING))
    overview.profile("k1", Profile(model_digest=Digest("a" * 64), device_kind="cpu", state=ProfileState.MEASURING))
    overview.profile("k2", Profile(model_digest=Digest("b" * 64), device_kind="cpu", state=ProfileState.COMPLETE))
    (function,) = overview.view(NOW_US).functions
    assert (function.generation, function.serving, function.ready, function.replicas) == (3, 2, 0, 2)
    assert (function.policy, function.wanted_min, function.wanted_max) == ("objective", 1, 4)
    assert function.profiles == {"cpu": "measuring, 0 points"}
    overview.profile("k1", None)
    assert overview.view(NOW_US).functions[0].profiles == {}


def test_what_stands_in_the_way_is_told_until_it_is_taken_back() -> None:
    overview = Overview()
    overview.function(OCR, spec(replicas=None, autoscale=Autoscale(min=1, max=4, policy="objective")))
    overview.event(_event("no_room", "each device is full"))
    overview.event(_event("objective_infeasible", "nothing is that fast"))
    reasons = overview.view(NOW_US).functions[0].reasons
    assert reasons == ("no room for more: each device is full", "nothing is that fast")
    overview.event(_event("objective_feasible", at_us=NOW_US + 2))
    overview.event(_event("replica_placed", at_us=NOW_US - 2))
    assert overview.view(NOW_US).functions[0].reasons == ("no room for more: each device is full",)
    overview.replica("n1.r1", replica("r1"))
    assert overview.view(NOW_US).functions[0].reasons == ()


def test_decisions_are_newest_first_each_once_and_bounded() -> None:
    overview = Overview()
    events = [_event("scaled", f"reason {number}", NOW_US + number) for number in range(DECISIONS + 10)]
    for event in (*events, *reversed(events)):
        overview.event(event)
    overview.event(_event("log", "what a handler prints", NOW_US + 1000))
    decisions = overview.view(NOW_US).decisions
    assert [decision.text for decision in decisions] == [event.text for event in reversed(events)][:DECISIONS]


def test_a_decision_tells_what_it_is_about() -> None:
    overview = Overview()
    overview.event(_event("replica_placed", "demand grows", NOW_US + 3, replica="r1", node="n1", device="n1-cpu0"))
    overview.event(_event("replica_failed", "", NOW_US + 2, replica="r1"))
    overview.event(_event("replica_ready", "", NOW_US + 2, replica="r1"))
    overview.event(_event("function_defined", "", NOW_US + 1, generation=4))
    overview.event(_event("leader_elected", "s1 leads", NOW_US, function="", epoch=2))
    texts = [decision.text for decision in overview.view(NOW_US).decisions]
    assert texts == ["r1 on n1-cpu0: demand grows", "r1", "generation 4", "s1 leads"]


def test_a_loan_is_told_by_its_function_and_device_not_by_what_it_is_called() -> None:
    overview = Overview()
    lent = {"replica": "ocr-loan-7-1", "node": "n1", "device": "n1-cpu0"}
    overview.event(_event("slice_lent", "on loan to the profiler", NOW_US, **lent))
    overview.event(_event("slice_returned", "the profiler is done", NOW_US + 1, **lent))
    decisions = overview.view(NOW_US).decisions
    assert [decision.text for decision in decisions] == [
        "n1-cpu0: the profiler is done",
        "n1-cpu0: on loan to the profiler",
    ]
    assert {decision.function for decision in decisions} == {OCR}


def test_services_are_those_heard_of_late() -> None:
    overview = Overview()
    overview.service(ServiceReady(service="scheduler", instance="s1", pid=1), NOW_US)
    overview.report(report(counts()), NOW_US)
    overview.node(node(), NOW_US + 2 * US_PER_S)
    services = overview.view(NOW_US + 2 * US_PER_S).services
    assert [(service.service, service.instance, service.silent_ms) for service in services] == [
        ("gateway", "g1", 2000),
        ("node_manager", "n1", 0),
        ("scheduler", "s1", 2000),
    ]
    assert overview.view(NOW_US + 100 * US_PER_S).services == ()


def test_definitions_and_tables_can_be_looked_up() -> None:
    overview = Overview()
    overview.function(OCR, spec())
    table = Profile(model_digest=Digest("a" * 64), device_kind="cpu", state=ProfileState.COMPLETE)
    overview.profile("k1", table)
    assert overview.spec(OCR) == spec()
    assert overview.spec(FunctionName("other")) is None
    assert overview.tables(Digest("a" * 64)) == [table]


def test_the_order_of_facts_does_not_matter() -> None:
    facts: list[Callable[[Overview], None]] = [
        lambda overview: overview.function(OCR, spec()),
        lambda overview: overview.replica("n1.r1", replica("r1")),
        lambda overview: overview.node(node(running=("r1",)), NOW_US),
        lambda overview: overview.event(_event("replica_failed", "", replica="r1")),
        lambda overview: overview.event(_event("no_room", "full")),
    ]
    views = []
    for order in permutations(facts):
        overview = Overview()
        for fact in order:
            fact(overview)
        views.append(overview.view(NOW_US))
    assert all(
        msgspec.structs.replace(view, decisions=()) == msgspec.structs.replace(views[0], decisions=()) for view in views
    )
    assert all(set(view.decisions) == set(views[0].decisions) for view in views)


_names = st.sampled_from(["a", "b", "c"])


@given(
    st.lists(
        st.tuples(
            _names,
            _names,
            st.sampled_from(list(ReplicaState)),
            st.lists(st.integers(0, 5), max_size=4, unique=True).map(lambda chunks: tuple(sorted(chunks))),
            st.floats(0, 1),
            st.booleans(),
        ),
        max_size=12,
    ),
    st.integers(0, 4),
    st.integers(0, 200),
)
def test_any_facts_make_a_picture_that_travels(
    replicas: list[tuple[str, str, ReplicaState, tuple[int, ...], float, bool]], chunks: int, later_s: int
) -> None:
    overview = Overview()
    for name, device, state, held, quota, is_loan in replicas:
        status = replica(
            name,
            state=state,
            device=DeviceId(device),
            chunks=held,
            slice=Slice(quota_request=quota),
            loan="wish" if is_loan else "",
        )
        overview.replica(f"n1.{name}", status)
    overview.node(node({"a": 2.0, "z": 1.0}, device=DeviceId("a"), chunks=chunks), NOW_US)
    view = overview.view(NOW_US + later_s * US_PER_S)
    assert msgspec.json.decode(msgspec.json.encode(view), type=PlatformView) == view
    assert all(0 <= device.busy <= 1 for device in view.devices)
    assert DEVICE not in {device.device for device in view.devices}


def test_what_was_told_of_a_function_that_was_removed_is_not_of_its_successor() -> None:
    told = [_event("no_room", "each device is full", NOW_US), _event("function_removed", at_us=NOW_US + 1)]
    for events in (told, told[::-1]):
        overview = Overview()
        for event in events:
            overview.event(event)
        overview.function(OCR, spec(replicas=4))
        assert overview.view(NOW_US).functions[0].reasons == ()
        overview.event(_event("no_room", "full again", NOW_US + 2))
        assert overview.view(NOW_US).functions[0].reasons == ("no room for more: full again",)


def test_what_is_gone_is_let_go_of_though_nobody_looks() -> None:
    overview = Overview()
    hour_us = 3_600 * US_PER_S
    for number in range(50):
        now_us = NOW_US + number * hour_us
        overview.report(report(counts(met=1), gateway=f"g{number}"), now_us)
        overview.node(node(name=f"n{number}", device=f"n{number}-cpu0"), now_us)
        overview.service(ServiceReady(service="gateway", instance=f"g{number}", endpoints={}, pid=1), now_us)
        overview.event(_event("no_room", "full", now_us - hour_us, function=f"f{number}"))
    sizes = [
        len(overview._gateways._known),
        len(overview._services),
        len(overview._devices._nodes),
        len(overview._devices._busy),
        len(overview._hindrances._told),
    ]
    assert max(sizes) <= 4, sizes
