"""Jobs on a real server: run once where all is well, again where a gateway died, and ended once whatever happens."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import numpy as np
import pytest
from msgspec.structs import replace

from fastgshare.client.jobs import JobPending, Jobs, JobUnknown
from fastgshare.client.values import to_request
from fastgshare.gateway.adapters import jobs as adapter
from fastgshare.gateway.adapters.jobs import JobRunner
from fastgshare.gateway.core.gatekeeper import Gatekeeper, Limits
from fastgshare.shared import subjects
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused
from fastgshare.shared.ids import FunctionName, GatewayId
from fastgshare.shared.jobs import JobQueue
from fastgshare.shared.messages import INFER_VERSION, InferReply, InferRequest, JobRecord, JobState, ReplyWish, Tensor
from fastgshare.shared.registry import FunctionUnknown
from fastgshare.shared.storage import ensure_storage
from fastgshare.shared.telemetry.sampling import Sampler
from tests.gateway.http.serving import ECHO, VIEW, FakeInvoker
from tests.natsd import Natsd

PATIENCE_S = 30.0
ROW = to_request({"x": np.ones((1, 4), np.float32)}, ())
TIME_US = 60_000_000


@pytest.fixture(autouse=True)
def _frequent_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "LOOK_S", 0.05)


@pytest.fixture
def _short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of gateways that died come back soon, as do those of one that is slow to say that it lives."""
    monkeypatch.setattr(adapter, "LEASE_S", 1.0)
    monkeypatch.setattr(adapter, "SIGN_OF_LIFE_S", 0.25)


@asynccontextmanager
async def buses(nats: Natsd, number: int) -> AsyncGenerator[list[Bus]]:
    async with AsyncExitStack() as stack:
        found = [await stack.enter_async_context(open_bus(BusConfig(nats.url, f"test-{i}"))) for i in range(number)]
        await ensure_storage(found[0])
        yield found


@asynccontextmanager
async def runner(bus: Bus, invoker: FakeInvoker, name: str = "one", most: int = 8) -> AsyncGenerator[JobRunner]:
    """A gateway's share of the jobs; at the end it goes as a gateway that is told to."""
    found = JobRunner(bus, GatewayId(name), invoker, Gatekeeper(Limits()), Sampler(0), most)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(found.run)
        yield found
        tasks.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE_S):
        while not condition():
            await anyio.sleep(0.01)


async def submit(queue: JobQueue, request: InferRequest = ROW, time_us: int = TIME_US, address: str = "") -> str:
    record = await queue.submit(ECHO, request, time_us=time_us, address=address)
    assert record.state is JobState.QUEUED
    return record.job


async def end_of(queue: JobQueue, job: str) -> JobRecord:
    record = await queue.wait(job, PATIENCE_S)
    assert record is not None
    assert record.ended_us, record
    return record


async def state_of(queue: JobQueue, job: str) -> JobState:
    record = await queue.look(job)
    assert record is not None
    return record.state


async def left_in_queue(bus: Bus) -> int:
    return (await bus.jetstream.stream_info(subjects.JOB_STREAM)).state.messages


async def is_empty(bus: Bus) -> None:
    with anyio.fail_after(PATIENCE_S):
        while await left_in_queue(bus):
            await anyio.sleep(0.02)


async def test_jobs_are_run_and_their_results_kept(nats: Natsd) -> None:
    async with buses(nats, 2) as (bus, other):
        queue, invoker = JobQueue(other), FakeInvoker()
        ids = [await submit(queue) for _ in range(20)]
        async with runner(bus, invoker):
            for job in ids:
                record = await end_of(queue, job)
                assert (record.state, record.runs, record.gateway) == (JobState.DONE, 1, "one")
                assert record.reply is not None
                assert bytes(record.reply.outputs[0].data) == bytes(ROW.inputs[0].data)
            await is_empty(bus)
        assert len(invoker.asked) == 20


async def test_gateways_share_the_jobs_and_run_no_more_than_they_may(nats: Natsd) -> None:
    async with buses(nats, 3) as (one, two, other):
        queue, first, second = JobQueue(other), FakeInvoker(), FakeInvoker()
        view = replace(VIEW, ready_replicas=9)
        for invoker in (first, second):
            invoker.views[ECHO] = view
            invoker.go = anyio.Event()
        ids = [await submit(queue) for _ in range(12)]
        async with runner(one, first, "one", most=3), runner(two, second, "two", most=4):
            await until(lambda: first.waiting == 3 and second.waiting == 4)
            await anyio.sleep(0.2)
            assert (first.waiting, second.waiting) == (3, 4)
            for invoker in (first, second):
                assert invoker.go is not None
                invoker.go.set()
            for job in ids:
                assert (await end_of(queue, job)).state is JobState.DONE
        assert len(first.asked) + len(second.asked) == 12


async def test_a_failure_is_an_outcome_and_a_refusal_is_not(nats: Natsd) -> None:
    async with buses(nats, 1) as (bus,):
        queue, invoker = JobQueue(bus), FakeInvoker()
        codes = iter([ErrorCode.OVERLOADED, ErrorCode.UNAVAILABLE, ErrorCode.MODEL_FAILED])
        invoker.behaviour = lambda _: InferReply(INFER_VERSION, error=ErrorBody(next(codes), "so it is"))
        async with runner(bus, invoker):
            record = await end_of(queue, await submit(queue))
            assert (record.state, record.runs, record.losses) == (JobState.FAILED, 3, 0)
            assert record.reply is not None
            assert record.reply.error == ErrorBody(ErrorCode.MODEL_FAILED, "so it is")
            await is_empty(bus)


async def test_a_job_past_its_deadline_is_not_run(nats: Natsd) -> None:
    async with buses(nats, 1) as (bus,):
        queue, invoker = JobQueue(bus), FakeInvoker()
        job = await submit(queue, time_us=1)
        async with runner(bus, invoker):
            record = await end_of(queue, job)
            assert record.reply is not None
            assert record.reply.error is not None
            assert record.reply.error.code is ErrorCode.DEADLINE_EXCEEDED
            await is_empty(bus)
        assert invoker.asked == []


async def test_a_waiting_job_and_a_running_one_are_cancelled(nats: Natsd) -> None:
    async with buses(nats, 2) as (bus, other):
        queue, invoker = JobQueue(other), FakeInvoker()
        waiting = await submit(queue)
        cancelled = await queue.cancel(waiting)
        assert cancelled is not None
        assert cancelled.state is JobState.CANCELLED
        invoker.go = anyio.Event()
        async with runner(bus, invoker):
            running = await submit(queue)
            await until(lambda: invoker.waiting == 1)
            await queue.cancel(running)
            await until(lambda: invoker.cancelled == 1)
            await is_empty(bus)
            invoker.go = None
            done = await submit(queue)
            await end_of(queue, done)
            late = await queue.cancel(done)
            assert late is not None
            assert late.state is JobState.DONE
        assert [(await end_of(queue, job)).state for job in (waiting, running)] == [JobState.CANCELLED] * 2
        assert len(invoker.asked) == 2
        assert await queue.cancel("echo." + "0" * 24) is None


async def test_a_gateway_that_goes_gives_its_jobs_back_at_once(nats: Natsd) -> None:
    async with buses(nats, 2) as (one, two):
        queue, first, second = JobQueue(two), FakeInvoker(), FakeInvoker()
        first.go = anyio.Event()
        job = await submit(queue)
        async with runner(one, first):
            await until(lambda: first.waiting == 1)
        assert await state_of(queue, job) is JobState.QUEUED
        async with runner(two, second, "two"):
            record = await end_of(queue, job)
        assert (record.state, record.gateway, record.runs, record.losses) == (JobState.DONE, "two", 2, 0)


@pytest.mark.usefixtures("_short_lease")
async def test_a_gateway_that_stops_waits_for_outcomes_and_for_nothing_else(nats: Natsd) -> None:
    async with buses(nats, 2) as (one, other):
        queue, invoker = JobQueue(other), FakeInvoker()
        running = await submit(queue)
        invoker.go = anyio.Event()
        async with runner(one, invoker) as found:
            await until(lambda: invoker.waiting == 1)
            began_s = anyio.current_time()
            await found.finish(PATIENCE_S)
            assert anyio.current_time() - began_s < PATIENCE_S / 2
            record = await queue.standing(running)
            assert record is not None
            assert (record.state, record.losses) == (JobState.QUEUED, 0)
        invoker.go = None
        stored = anyio.Event()
        async with runner(one, invoker, "two") as found:
            at_once = found.queue.change

            async def slowly(job: str, change: Callable[[JobRecord], JobRecord | None]) -> JobRecord | None:
                if len(invoker.asked) > 1 and not stored.is_set():
                    stored.set()
                    await anyio.sleep(0.3)
                return await at_once(job, change)

            found.queue.change = slowly  # type: ignore[method-assign]
            await stored.wait()
            began_s = anyio.current_time()
            await found.finish(PATIENCE_S)
            assert anyio.current_time() - began_s < PATIENCE_S / 2
        assert await state_of(queue, running) is JobState.DONE
        assert len(invoker.asked) == 2


@pytest.mark.usefixtures("_short_lease")
async def test_the_job_of_a_gateway_that_died_is_run_by_another(nats: Natsd) -> None:
    async with buses(nats, 3) as (one, two, other):
        queue, first, second = JobQueue(other), FakeInvoker(), FakeInvoker()
        first.go = anyio.Event()
        job = await submit(queue)
        async with runner(one, first):
            await until(lambda: first.waiting == 1)
            await one.connection.close()  # as far as the bus can tell, it is dead
            async with runner(two, second, "two"):
                record = await end_of(queue, job)
        assert (record.state, record.gateway, record.runs, record.losses) == (JobState.DONE, "two", 2, 1)


async def test_jobs_survive_the_server(nats: Natsd) -> None:
    async with buses(nats, 2) as (bus, other):
        queue, invoker = JobQueue(other), FakeInvoker()
        ids = [await submit(queue) for _ in range(5)]
        nats.kill()
        nats.restart()
        await until(lambda: bus.is_connected and other.is_connected)
        async with runner(bus, invoker):
            await until(lambda: len(invoker.asked) > 0)
            invoker.go = anyio.Event()
            held = await submit(queue)
            await until(lambda: invoker.waiting > 0)
            nats.kill()
            nats.restart()
            invoker.go.set()
            await until(lambda: bus.is_connected and other.is_connected)
            for job in (*ids, held):
                assert (await end_of(queue, job)).state is JobState.DONE
            await is_empty(bus)


async def test_the_outcome_is_published_where_it_was_asked_for(nats: Natsd) -> None:
    async with buses(nats, 2) as (bus, other):
        queue, invoker = JobQueue(other), FakeInvoker()
        heard = await other.connection.subscribe("fast.result.team.a")
        await other.flush()
        job = await submit(queue, address="team.a")
        async with runner(bus, invoker):
            news = json.loads((await heard.next_msg(PATIENCE_S)).data)
        assert (news["id"], news["state"]) == (job, "done")
        assert news["response"]["outputs"][0]["data"] == [1.0] * 4
        with pytest.raises(RequestRefused, match="address"):
            await submit(queue, address="a.>")


async def test_a_full_queue_refuses_and_leaves_nothing_behind(nats: Natsd) -> None:
    async with buses(nats, 1) as (bus,):
        queue = JobQueue(bus)
        info = await bus.jetstream.stream_info(subjects.JOB_STREAM)
        await bus.jetstream.update_stream(info.config.evolve(max_msgs=2))
        ids = [await submit(queue) for _ in range(2)]
        with pytest.raises(RequestRefused) as refused:
            await submit(queue)
        assert refused.value.body.code is ErrorCode.OVERLOADED
        keys = await (await bus.jetstream.key_value(subjects.RESULTS)).keys()
        assert sorted(keys) == sorted(ids)


async def test_too_much_is_refused_going_in_and_coming_out(nats: Natsd, monkeypatch: pytest.MonkeyPatch) -> None:
    async with buses(nats, 1) as (bus,):
        queue, invoker = JobQueue(bus), FakeInvoker()
        large = Tensor("x", "UINT8", (bus.max_payload_bytes,), memoryview(bytes(bus.max_payload_bytes)))
        with pytest.raises(RequestRefused) as refused:
            await submit(queue, InferRequest(INFER_VERSION, (large,)))
        assert refused.value.body.code is ErrorCode.TOO_LARGE
        monkeypatch.setattr(adapter, "MOST_RESULT_BYTES", bus.max_payload_bytes - 1)
        invoker.behaviour = lambda _: InferReply(INFER_VERSION, (large,))
        async with runner(bus, invoker):
            record = await end_of(queue, await submit(queue))
        assert record.reply is not None
        assert record.reply.error is not None
        assert record.reply.error.code is ErrorCode.TOO_LARGE


async def test_what_a_caller_asks_about_its_answer_is_bounded(nats: Natsd) -> None:
    async with buses(nats, 1) as (bus,):
        queue = JobQueue(bus)
        for wish, code in (
            (ReplyWish(request_id="x" * 5000), ErrorCode.INVALID),
            (ReplyWish(binary={"x" * 100_000: True}), ErrorCode.TOO_LARGE),
        ):
            with pytest.raises(RequestRefused) as refused:
                await queue.submit(ECHO, ROW, wish=wish)
            assert refused.value.body.code is code
        assert await left_in_queue(bus) == 0


async def test_a_result_that_is_large_by_its_names_alone_is_an_outcome_too(nats: Natsd) -> None:
    async with buses(nats, 1) as (bus,):
        queue, invoker = JobQueue(bus), FakeInvoker()
        wordy = Tensor("y" * bus.max_payload_bytes, "UINT8", (1,), memoryview(b"0"))
        invoker.behaviour = lambda _: InferReply(INFER_VERSION, (wordy,))
        async with runner(bus, invoker):
            record = await end_of(queue, await submit(queue))
        assert (record.state, record.runs) == (JobState.DONE, 1)
        assert await queue.reply(record) == InferReply(INFER_VERSION, (wordy,))


async def test_room_for_outcomes_is_kept_from_those_who_submit(nats: Natsd) -> None:
    async with buses(nats, 1) as (bus,):
        queue, invoker = JobQueue(bus), FakeInvoker()
        job = await submit(queue)
        store = f"KV_{subjects.RESULTS}"
        await (await bus.jetstream.key_value(subjects.RESULTS)).put("weight", bytes(100_000))
        await bus.jetstream.update_stream((await bus.jetstream.stream_info(store)).config.evolve(max_bytes=120_000))
        with pytest.raises(RequestRefused) as refused:
            await JobQueue(bus).submit(ECHO, ROW)
        assert refused.value.body.code is ErrorCode.OVERLOADED
        async with runner(bus, invoker):
            assert (await end_of(queue, job)).state is JobState.DONE


async def test_a_result_without_room_ends_its_job_which_is_not_run_again(nats: Natsd) -> None:
    async with buses(nats, 1) as (bus,):
        queue, invoker = JobQueue(bus), FakeInvoker()
        large = Tensor("y", "UINT8", (300_000,), memoryview(bytes(300_000)))
        invoker.behaviour = lambda _: InferReply(INFER_VERSION, (large,))
        store = f"KV_{subjects.RESULTS}"
        await bus.jetstream.update_stream((await bus.jetstream.stream_info(store)).config.evolve(max_bytes=200_000))
        async with runner(bus, invoker):
            record = await end_of(queue, await submit(queue))
            await is_empty(bus)
        assert (record.state, record.runs, len(invoker.asked)) == (JobState.FAILED, 1, 1)
        assert record.reply is not None
        assert record.reply.error is not None
        assert record.reply.error.code is ErrorCode.TOO_LARGE


async def test_a_large_result_is_named_in_the_news(nats: Natsd) -> None:
    async with buses(nats, 1) as (bus,):
        queue, invoker = JobQueue(bus), FakeInvoker()
        large = Tensor("y", "UINT8", (300_000,), memoryview(bytes(300_000)))
        invoker.behaviour = lambda _: InferReply(INFER_VERSION, (large,))
        heard = await bus.connection.subscribe(subjects.result("team.a"))
        job = await submit(queue, address="team.a")
        async with runner(bus, invoker):
            news = json.loads((await heard.next_msg(PATIENCE_S)).data)
        assert news == {"id": job, "function": "echo", "state": "done", "result": f"/v1/jobs/{job}/result"}


async def test_what_is_no_job_is_dropped_and_stops_nobody(nats: Natsd) -> None:
    async with buses(nats, 1) as (bus,):
        queue, invoker = JobQueue(bus), FakeInvoker()
        for nonsense in (b"", b"\xff", b"{}"):
            await bus.jetstream.publish(subjects.job(ECHO), nonsense)
        async with runner(bus, invoker):
            assert (await end_of(queue, await submit(queue))).state is JobState.DONE
            await is_empty(bus)


async def test_a_client_submits_waits_and_is_told_what_is_wrong(nats: Natsd) -> None:
    async with buses(nats, 1) as (bus,):
        jobs, invoker = Jobs(bus), FakeInvoker()
        inputs = {"x": np.ones((1, 4), np.float32)}
        with pytest.raises(FunctionUnknown):
            await jobs.submit("echo", inputs)
        job = await submit(JobQueue(bus))
        with pytest.raises(JobPending, match="queued"):
            await jobs.result(job)
        with pytest.raises(JobUnknown):
            await jobs.result("echo." + "0" * 24)
        async with runner(bus, invoker):
            result = await jobs.result(job, wait_s=PATIENCE_S)
        assert result.outputs["x"].tolist() == [[1.0] * 4]
        invoker.behaviour = lambda _: InferReply(INFER_VERSION, error=ErrorBody(ErrorCode.INVALID, "no"))
        async with runner(bus, invoker):
            with pytest.raises(RequestRefused, match="no"):
                await jobs.result(await submit(JobQueue(bus)), wait_s=PATIENCE_S)


async def test_a_function_without_room_stands_in_nobodys_way(nats: Natsd) -> None:
    async with buses(nats, 1) as (bus,):
        other = FunctionName("other")
        queue, invoker = JobQueue(bus), FakeInvoker()
        spec = replace(VIEW.spec, name=other)
        invoker.views[other] = replace(VIEW, spec=spec)
        stuck = [await queue.submit(other, ROW, time_us=TIME_US) for _ in range(30)]
        real = invoker.invoke

        async def invoke(function: FunctionName, *args: object) -> InferReply:
            if function == other:
                return InferReply(INFER_VERSION, error=ErrorBody(ErrorCode.UNAVAILABLE, "no replica"))
            return await real(function, *args)  # type: ignore[arg-type]

        invoker.invoke = invoke  # type: ignore[assignment]
        async with runner(bus, invoker):
            for _ in range(5):
                assert (await end_of(queue, await submit(queue))).state is JobState.DONE
        for record in stuck:
            assert await state_of(queue, record.job) in (JobState.QUEUED, JobState.RUNNING)
