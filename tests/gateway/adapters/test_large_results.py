"""Results larger than a message of the bus: kept beside the record that names them, fetched by whoever asks for one."""

import json
from collections.abc import Iterator
from pathlib import Path

import anyio
import numpy as np
import pytest
from nats.js.errors import NotFoundError

from fastgshare.client.jobs import Jobs
from fastgshare.shared import subjects
from fastgshare.shared.arrays import to_tensor
from fastgshare.shared.bus import Bus
from fastgshare.shared.errors import ErrorCode, RequestRefused
from fastgshare.shared.jobrecords import cancelled
from fastgshare.shared.jobs import JobQueue
from fastgshare.shared.largeresults import LargeResults
from fastgshare.shared.messages import INFER_VERSION, InferReply, JobRecord, JobState
from tests import natsd
from tests.gateway.adapters.test_jobs import buses, end_of, is_empty, runner, submit, until
from tests.gateway.http.serving import FakeInvoker, echo
from tests.natsd import Natsd, run_natsd

MIB = 1 << 20
PATIENCE_S = 30.0
NUMBERS = np.arange(3 * MIB // 4, dtype=np.float32)
LARGE = InferReply(INFER_VERSION, (to_tensor("y", NUMBERS),))


@pytest.fixture
def small_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Natsd]:
    """A server whose messages have 1 MiB at most."""
    monkeypatch.setattr(natsd, "MAX_PAYLOAD_BYTES", MIB)
    with run_natsd(tmp_path) as server:
        yield server


def large_invoker() -> FakeInvoker:
    found = FakeInvoker()
    found.behaviour = lambda _: LARGE
    return found


async def objects(bus: Bus) -> dict[str, int]:
    """The size of each large result that is kept."""
    store = await bus.jetstream.object_store(subjects.LARGE_RESULTS)
    try:
        return {str(found.name): found.size or 0 for found in await store.list(ignore_deletes=True)}
    except NotFoundError:  # how nats-py says that there is none
        return {}


async def test_a_result_of_three_messages_is_kept_told_of_and_fetched(small_messages: Natsd) -> None:
    async with buses(small_messages, 2) as (bus, other):
        assert bus.max_payload_bytes == MIB
        queue, invoker = JobQueue(other), large_invoker()
        heard = await other.connection.subscribe(subjects.result("team.a"))
        job = await submit(queue, address="team.a")
        async with runner(bus, invoker):
            record = await end_of(queue, job)
            news = json.loads((await heard.next_msg(PATIENCE_S)).data)
        assert (record.state, record.runs, record.reply) == (JobState.DONE, 1, None)
        assert record.kept is not None
        assert await objects(bus) == {f"{job}.1": record.kept.size_bytes}
        assert news == {"id": job, "function": "echo", "state": "done", "result": f"/v1/jobs/{job}/result"}
        result = await Jobs(other).result(job)
        assert np.array_equal(result.outputs["y"], NUMBERS)


async def test_what_is_kept_goes_a_little_later_than_its_record_and_has_a_bound(small_messages: Natsd) -> None:
    async with buses(small_messages, 1) as (bus,):
        kept = (await bus.jetstream.stream_info(f"OBJ_{subjects.LARGE_RESULTS}")).config
        records = (await bus.jetstream.stream_info(f"KV_{subjects.RESULTS}")).config
        assert (kept.max_age, kept.max_bytes) == ((records.max_age or 0) + 3600, records.max_bytes)


async def test_a_result_that_is_gone_is_said_to_be(small_messages: Natsd) -> None:
    async with buses(small_messages, 1) as (bus,):
        queue, invoker = JobQueue(bus), large_invoker()
        async with runner(bus, invoker):
            job = await submit(queue)
            await end_of(queue, job)
        await LargeResults(bus).forget(f"{job}.1")
        await LargeResults(bus).forget(f"{job}.1")
        with pytest.raises(RequestRefused, match="not kept any more") as refused:
            await Jobs(bus).result(job)
        assert refused.value.body.code is ErrorCode.NOT_FOUND


async def test_the_result_of_a_job_that_was_cancelled_meanwhile_is_forgotten(small_messages: Natsd) -> None:
    async with buses(small_messages, 2) as (bus, other):
        queue, invoker = JobQueue(other), large_invoker()
        invoker.go = anyio.Event()
        async with runner(bus, invoker) as found:
            job = await submit(queue)
            await until(lambda: invoker.waiting == 1)
            keep, stored = found.queue.large.keep, []

            async def late(name: str, payload: bytes) -> object:
                kept = await keep(name, payload)
                stored.append(kept)
                await found.queue.change(job, ended_by_its_caller)
                return kept

            found.queue.large.keep = late  # type: ignore[method-assign,assignment]
            invoker.go.set()
            assert (await end_of(queue, job)).state is JobState.CANCELLED
            with anyio.fail_after(PATIENCE_S):
                while not stored or await objects(bus):
                    await anyio.sleep(0.02)


@pytest.mark.parametrize("messages", [1, 3, 8, 9], ids=["first", "middle", "last", "its name"])
async def test_of_a_result_that_is_called_off_while_it_is_stored_nothing_stays(
    small_messages: Natsd, messages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with buses(small_messages, 1) as (bus,):
        publish, sent = bus.jetstream.publish, 0

        async def counted(*args: object, **options: object) -> object:
            nonlocal sent
            sent += 1
            answer = await publish(*args, **options)  # type: ignore[arg-type]  # whatever nats-py gives
            if sent == messages:
                storing.cancel()
            return answer

        with monkeypatch.context() as patched, anyio.CancelScope() as storing:
            patched.setattr(bus.jetstream, "publish", counted)
            await LargeResults(bus).keep("late", bytes(MIB))  # eight chunks and its name
        assert storing.cancelled_caught
        assert await objects(bus) == {}
        assert (await bus.jetstream.stream_info(f"OBJ_{subjects.LARGE_RESULTS}")).state.bytes < 1000


async def test_a_result_is_forgotten_where_there_is_no_room_to_say_so(small_messages: Natsd) -> None:
    async with buses(small_messages, 1) as (bus,):
        stream = f"OBJ_{subjects.LARGE_RESULTS}"
        await LargeResults(bus).keep("weight", bytes(MIB))
        info = await bus.jetstream.stream_info(stream)
        await bus.jetstream.update_stream(info.config.evolve(max_bytes=info.state.bytes))
        await LargeResults(bus).forget("weight")
        assert await objects(bus) == {}
        assert (await bus.jetstream.stream_info(stream)).state.bytes < 1000


def ended_by_its_caller(record: JobRecord) -> JobRecord | None:
    return cancelled(record, record.submitted_us + 1)


async def test_a_result_without_room_ends_its_job_and_jobs_with_small_results_go_on(small_messages: Natsd) -> None:
    async with buses(small_messages, 1) as (bus,):
        queue, invoker = JobQueue(bus), large_invoker()
        stream = f"OBJ_{subjects.LARGE_RESULTS}"
        config = (await bus.jetstream.stream_info(stream)).config
        await LargeResults(bus).keep("weight", bytes(2 * MIB))
        await bus.jetstream.update_stream(config.evolve(max_bytes=2 * MIB + MIB // 5))
        async with runner(bus, invoker):
            record = await end_of(queue, await submit(queue))
            assert (record.state, record.runs, len(invoker.asked)) == (JobState.FAILED, 1, 1)
            with pytest.raises(RequestRefused, match="no room left to keep it") as refused:
                await Jobs(bus).result(record.job)
            assert refused.value.body.code is ErrorCode.TOO_LARGE
            invoker.behaviour = echo
            assert (await end_of(queue, await submit(queue))).state is JobState.DONE
            await is_empty(bus)


async def test_the_result_of_a_job_that_is_deleted_makes_room(small_messages: Natsd) -> None:
    async with buses(small_messages, 1) as (bus,):
        queue, invoker = JobQueue(bus), large_invoker()
        async with runner(bus, invoker):
            job = await submit(queue)
            done = await end_of(queue, job)
        assert done.kept is not None
        for _ in range(2):
            assert await queue.cancel(job) == done
            assert await objects(bus) == {}
            with pytest.raises(RequestRefused, match="not kept any more"):
                await Jobs(bus).result(job)


async def test_jobs_are_taken_where_the_platform_is_from_before_there_were_large_results(small_messages: Natsd) -> None:
    async with buses(small_messages, 1) as (bus,):
        await bus.jetstream.delete_object_store(subjects.LARGE_RESULTS)
        queue = JobQueue(bus)
        async with runner(bus, FakeInvoker()):
            job = await submit(queue)
            assert (await end_of(queue, job)).state is JobState.DONE
        assert await queue.cancel(job) is not None
