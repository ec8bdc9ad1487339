"""Traces through the whole platform, received by a collector in a process of its own."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from benchmarks.otlp_receiver import Receiver, Seen, run_receiver
from fastgshare.cli.app import app
from fastgshare.client import Client
from fastgshare.client.traces import find_traces, last_traces
from fastgshare.client.values import Value
from fastgshare.shared import subjects
from fastgshare.shared.codec import decode
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import GatewayLoad, RequestTrace
from fastgshare.shared.tracing import TraceContext, new_trace
from fastgshare.shared.units import US_PER_S
from tests.integration import functions
from tests.integration.doors import deployed, door, json_body, refusal, rows, until
from tests.integration.world import WORKER, World, running

PATIENT_S = 40.0
PART_S = 0.05
UNHURRIED_MS = 40_000.0
GATEWAY_STAGES = {"admit", "route", "reply"}
WORKER_STAGES = {"process fast.replica", "execute"}

pytestmark = pytest.mark.timeout(150)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with run_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[World]:
    """A platform that samples nothing by itself, and tells a collector of what it keeps."""
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "FASTGSHARE_TRACE_RATIO": "0",
    }
    with running(tmp_path_factory.mktemp("traced"), env=env) as world:
        yield world


async def whole(receiver: Receiver, caller: TraceContext, handlers: int = 0) -> dict[str, Seen]:
    """A trace's spans by name, once gateway and worker have both sent all of theirs, in however many messages."""
    found: dict[str, Seen] = {}

    async def is_whole() -> bool:
        spans = await anyio.to_thread.run_sync(receiver.spans, caller.trace_id)
        found.update({span.name: span for span in spans})
        known = {caller.span_id, *(span.span_id for span in spans)}
        return (
            found.keys() >= GATEWAY_STAGES | WORKER_STAGES
            and all(span.parent_id in known for span in spans)
            and sum(span.name == "handler" for span in spans) >= handlers
        )

    await until(is_whole)
    return found


async def kept(client: Client, caller: TraceContext) -> RequestTrace:
    """The record in the stream, once it is there."""
    found: list[RequestTrace] = []

    async def is_there() -> bool:
        found[:] = await find_traces(client.bus, caller.trace_id)
        return bool(found)

    await until(is_there)
    return found[0]


async def called(client: Client, name: str, caller: TraceContext) -> None:
    """One answered request."""
    await client.invoke(name, {"x": rows(1.0)}, timeout_s=PATIENT_S, trace=caller)


def assert_one_tree(spans: dict[str, Seen], root: Seen, caller: TraceContext) -> None:
    """Everything hangs below the root, and lies in time within what it hangs below."""
    by_id = {span.span_id: span for span in spans.values()}
    assert root.parent_id == caller.span_id
    for span in spans.values():
        assert span.trace_id == caller.trace_id
        assert span.start_ns <= span.end_ns
        if span is not root:
            above = by_id[span.parent_id]
            assert above.start_ns <= span.start_ns
    for name in GATEWAY_STAGES:
        assert spans[name].parent_id == root.span_id
        assert spans[name].service == "gateway"
    worker = spans["process fast.replica"]
    assert (worker.service, worker.parent_id) == ("node_manager", spans["route"].span_id)
    assert spans["execute"].parent_id == worker.span_id


async def test_one_trace_spans_client_gateway_and_worker_over_the_bus(
    traced: World, receiver: Receiver, tmp_path: Path, name: str
) -> None:
    caller = new_trace(sampled=True)
    async with deployed(traced, functions.times(name, tmp_path, 2.0, slo_ms=UNHURRIED_MS)) as client:
        result = await client.invoke(name, {"x": rows(1.0)}, timeout_s=PATIENT_S, trace=caller)
        spans = await whole(receiver, caller)
        record = await kept(client, caller)
    root = spans["process fast.invoke"]
    assert_one_tree(spans, root, caller)
    assert root.kind == "consumer"
    assert root.attributes["messaging.system"] == "nats"
    assert root.attributes["messaging.destination.name"] == f"fast.invoke.{name}"
    assert root.attributes["fastgshare.objective_ms"] == UNHURRIED_MS
    assert root.attributes["fastgshare.objective_met"] is True
    assert root.attributes["fastgshare.outcome"] == "answered"
    route = spans["route"]
    assert route.kind == "producer"
    assert route.attributes["messaging.destination.name"] == f"fast.replica.{result.replica}"
    assert route.attributes["messaging.message.id"] == result.attempt
    assert root.resource["service.namespace"] == "fastgshare"
    assert (f"{record.request}.1", record.door, record.is_sampled) == (result.attempt, "nats", True)
    assert record.attempts[-1].replica == result.replica


async def test_http_callers_and_json_over_the_bus_continue_their_traces(
    traced: World, receiver: Receiver, tmp_path: Path, name: str
) -> None:
    by_http, by_bus = new_trace(sampled=True), new_trace(sampled=True)
    body = json_body({"x": rows(1.0)})
    async with deployed(traced, functions.times(name, tmp_path, 2.0)) as client, door(traced.http_url) as http:
        headers = {"traceparent": by_http.header()}
        response = await http.post(f"/v2/models/{name}/infer", json=body, headers=headers)
        answer = await client.bus.connection.request(
            subjects.invoke(FunctionName(name)),
            json.dumps(body).encode(),
            PATIENT_S,
            headers={"traceparent": by_bus.header()},
        )
        over_http = await whole(receiver, by_http)
        over_bus = await whole(receiver, by_bus)
    assert response.status_code == httpx.codes.OK
    assert "error" not in json.loads(answer.data)
    root = over_http["POST /v2/models/{model}/infer"]
    assert_one_tree(over_http, root, by_http)
    assert (root.kind, root.attributes["http.response.status_code"]) == ("server", 200)
    assert_one_tree(over_bus, over_bus["process fast.invoke"], by_bus)


async def test_user_code_is_told_apart_before_and_after_the_model(
    traced: World, receiver: Receiver, tmp_path: Path, name: str
) -> None:
    caller = new_trace(sampled=True)
    async with deployed(traced, functions.moody(name, tmp_path, 2.0)) as client:
        await client.invoke(name, {"mood": b"fine", "x": rows(1.0, width=4)[0]}, timeout_s=PATIENT_S, trace=caller)
        await whole(receiver, caller, handlers=2)
        record = await kept(client, caller)
    spans = receiver.spans(caller.trace_id)
    assert [span.name for span in spans].count("handler") == 2
    assert len({span.span_id for span in spans}) == len(spans)
    assert record.timing is not None
    assert 0 < record.timing.before_us < record.timing.handler_us


async def test_an_answer_in_parts_counts_until_its_first_and_is_drawn_until_its_last(
    traced: World, receiver: Receiver, tmp_path: Path, name: str
) -> None:
    caller = new_trace(sampled=True)
    inputs = {"desk": np.array([str(tmp_path).encode()], object), "x": np.array([3, 1, 0, 2.0], np.float32)}
    async with deployed(traced, functions.handled(name, tmp_path, "counter.py", "Counter")) as client:
        async for _ in client.invoke_stream(name, inputs, timeout_s=PATIENT_S, trace=caller):
            await anyio.sleep(PART_S)
            (tmp_path / "go").touch()
        spans = await whole(receiver, caller, handlers=2)
        record = await kept(client, caller)
    assert record.arrived_us < record.first_us <= record.end_us - PART_S * US_PER_S
    handler = spans["handler"]  # the last of its name
    assert handler.attributes["fastgshare.handler.part"] == "postprocess"
    assert handler.start_ns == spans["execute"].end_ns
    assert handler.end_ns == spans["process fast.replica"].end_ns


async def test_a_caller_that_says_no_is_obeyed_and_so_is_chance(
    traced: World, receiver: Receiver, tmp_path: Path, name: str
) -> None:
    unwanted, wanted = new_trace(), new_trace(sampled=True)
    async with deployed(traced, functions.times(name, tmp_path, 2.0, slo_ms=UNHURRIED_MS)) as client:
        for trace in (unwanted, None):
            await client.invoke(name, {"x": rows(1.0)}, timeout_s=PATIENT_S, trace=trace)
        await client.invoke(name, {"x": rows(1.0)}, timeout_s=PATIENT_S, trace=wanted)
        await whole(receiver, wanted)
        await kept(client, wanted)
        listed = await last_traces(client.bus, 10, name)
    assert receiver.spans(unwanted.trace_id) == []
    assert [trace.trace_id for trace in listed] == [wanted.trace_id]


async def test_what_misses_its_objective_is_kept_though_its_caller_said_no(
    traced: World, receiver: Receiver, tmp_path: Path, name: str
) -> None:
    caller = new_trace(sampled=False)
    async with deployed(traced, functions.slow(name, tmp_path, 100, slo_ms=1.0)) as client:
        await client.invoke(name, {"x": rows(1.0)}, timeout_s=PATIENT_S, trace=caller)
        spans = await whole(receiver, caller)
        record = await kept(client, caller)
    root = spans["process fast.invoke"]
    assert_one_tree(spans, root, caller)
    assert root.attributes["fastgshare.sampled"] is False
    assert root.attributes["fastgshare.objective_met"] is False
    assert record.is_met is False
    assert not record.is_sampled


async def test_a_refusal_by_no_fault_of_the_callers_is_kept_and_one_by_its_own_is_not(
    traced: World, tmp_path: Path, name: str
) -> None:
    mine, theirs = new_trace(), new_trace()
    async with deployed(traced, functions.moody(name, tmp_path)) as client:
        for mood, trace in ((b"bad", mine), (b"raise", theirs)):
            inputs: dict[str, Value] = {"mood": mood, "x": rows(1.0, width=4)[0]}
            await refusal(client.invoke(name, inputs, timeout_s=PATIENT_S, trace=trace))
        record = await kept(client, theirs)
        assert await find_traces(client.bus, mine.trace_id) == []
    assert (record.outcome, record.is_met) == ("handler_failed", False)


async def test_a_batch_and_the_requests_in_it_are_linked_both_ways(
    traced: World, receiver: Receiver, tmp_path: Path, name: str
) -> None:
    callers = [new_trace(sampled=True) for _ in range(48)]
    async with deployed(traced, functions.slow(name, tmp_path, 4, max_batch=8)) as client:
        async with anyio.create_task_group() as calls:
            for caller in callers:
                calls.start_soon(called, client, name, caller)
        executed = [(await whole(receiver, caller))["execute"] for caller in callers]
        batches: dict[str, Seen] = {}

        async def all_told() -> bool:
            seen = await anyio.to_thread.run_sync(receiver.spans)
            batches.update({span.span_id: span for span in seen if span.name == "batch"})
            return all(span.links[0][1] in batches for span in executed)

        await until(all_told)
    own = {(span.trace_id, span.span_id): batches[span.links[0][1]] for span in executed}
    for execute, batch in own.items():
        assert execute in batch.links
        assert batch.trace_id not in {caller.trace_id for caller in callers}
        assert batch.attributes["fastgshare.batch.requests"] == len(batch.links)
    assert max(len(batch.links) for batch in own.values()) > 1


async def test_the_command_shows_a_request_as_a_waterfall_and_lists_the_late(
    traced: World, tmp_path: Path, name: str
) -> None:
    async with deployed(traced, functions.slow(name, tmp_path, 100, slo_ms=1.0)) as client:
        result = await client.invoke(name, {"x": rows(1.0)}, timeout_s=PATIENT_S)
        request = (result.attempt or "").partition(".")[0]
        await until(lambda: find_traces(client.bus, request))
        shown = await command(traced, "trace", request)
        as_json = json.loads((await command(traced, "trace", request, "--json")).stdout)
        late = await command(traced, "trace", "--late", name)
        unknown = await command(traced, "trace", "0" * 32)
        asked = await command(traced, "invoke", name, "--trace", "-i", f"x={rows(1.0).tolist()}")
    assert shown.exit_code == 0, shown.stderr
    for word in (request, "admit", "route", "execute", "in a batch of 1 row", "objective 1.00 ms", "missed by"):
        assert word in shown.stdout
    assert as_json["stages"][0]["name"] == "admit"
    assert request in late.stdout
    assert unknown.exit_code == 1
    assert "invoke --trace" in unknown.stderr
    assert "`fastgshare trace " in asked.stderr


async def test_an_attempt_that_is_lost_with_its_worker_is_seen(traced: World, tmp_path: Path, name: str) -> None:
    caller = new_trace(sampled=True)
    async with deployed(traced, functions.slow(name, tmp_path, 4000, max_batch=1)) as client:
        async with anyio.create_task_group() as calls:
            calls.start_soon(called, client, name, caller)
            await until(partial(_is_outstanding, client, name))
            await anyio.to_thread.run_sync(traced.kill, WORKER)
        record = await kept(client, caller)
    assert len(record.attempts) > 1
    assert all(attempt.lost_us for attempt in record.attempts[:-1])
    assert record.attempts[-1].lost_us == 0
    assert record.outcome == "answered"


async def _is_outstanding(client: Client, name: str) -> bool:
    """Whether a gateway says that a request is on its way to a replica or there."""
    heard = await client.bus.connection.subscribe(subjects.LOAD_ALL)
    try:
        load = decode(GatewayLoad, (await heard.next_msg(PATIENT_S)).data)
    finally:
        await heard.unsubscribe()
    function = load.functions.get(FunctionName(name))
    return function is not None and function.outstanding > 0


async def command(world: World, *words: str) -> Result:
    """`fastgshare`, as a person types it on a wide terminal."""
    arguments, env = [*words, "--url", world.nats_url], {"COLUMNS": "140"}
    return await anyio.to_thread.run_sync(lambda: CliRunner().invoke(app, arguments, env=env))
