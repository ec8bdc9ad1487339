"""The connection: requests that nobody answers, what flushing promises, and what is called after a reconnect."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import anyio.to_thread
import pytest
import uvloop
from nats.aio.msg import Msg

from fastgshare.shared import subjects
from fastgshare.shared.bus import BusConfig, NoAnswer, open_bus
from fastgshare.shared.codec import decode
from fastgshare.shared.errors import BusUnavailable
from fastgshare.shared.messages import Event
from tests.natsd import MAX_PAYLOAD_BYTES, Natsd

ROUNDS = 300
PATIENCE_S = 30.0


@contextmanager
def silent_server() -> Iterator[str]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"nats://127.0.0.1:{server.getsockname()[1]}"


async def test_a_request_nobody_listens_for_is_told_at_once(nats: Natsd) -> None:
    async with open_bus(BusConfig(nats.url)) as bus:
        with pytest.raises(NoAnswer) as caught:
            await bus.request("fast.nobody", b"", timeout_s=30)
        assert caught.value.fields["reason"] == "no_responders"


async def test_a_request_nobody_answers_is_told_in_time(nats: Natsd) -> None:
    async def ignore(msg: Msg) -> None:
        """Says nothing."""

    async with open_bus(BusConfig(nats.url)) as bus:
        await bus.subscribe("fast.deaf", ignore)
        with pytest.raises(NoAnswer) as caught:
            await bus.request("fast.deaf", b"", timeout_s=0.1)
        assert caught.value.fields == {"subject": "fast.deaf", "timeout_s": 0.1, "reason": "timeout"}


def test_after_a_flush_others_reach_every_subscription_made_before(nats: Natsd) -> None:
    """On uvloop, as in services: there nats-py's own flush is overtaken about once in a hundred times."""

    async def answer(msg: Msg) -> None:
        await msg.respond(b"here")

    async def scene() -> None:
        async with open_bus(BusConfig(nats.url)) as listener, open_bus(BusConfig(nats.url)) as caller:
            for number in range(ROUNDS):
                await listener.subscribe(f"fast.here.{number}", answer, queue="any")
                await listener.flush()
                assert (await caller.request(f"fast.here.{number}", b"", timeout_s=5)).data == b"here"

    uvloop.run(scene())


async def test_a_flush_without_a_server_fails_in_time(nats: Natsd) -> None:
    async with open_bus(BusConfig(nats.url)) as bus:
        await bus.flush()
        nats.kill()
        with pytest.raises(NoAnswer), anyio.fail_after(PATIENCE_S):
            await bus.flush(timeout_s=0.2)


async def test_reconnect_callbacks_run_each_time_until_forgotten(nats: Natsd) -> None:
    back = [anyio.Event() for _ in range(3)]
    calls: list[str] = []

    async with open_bus(BusConfig(nats.url)) as bus:

        def kept() -> None:
            calls.append("kept")
            back[calls.count("kept") - 1].set()

        def once() -> None:
            calls.append("once")
            bus.forget_reconnect(once)

        bus.on_reconnect(once)
        bus.on_reconnect(kept)
        for number in range(2):
            nats.restart()
            with anyio.fail_after(PATIENCE_S):
                await back[number].wait()
        assert calls == ["once", "kept", "kept"]
        assert bus.is_connected
        assert bus.max_payload_bytes == MAX_PAYLOAD_BYTES


async def test_an_answer_that_went_down_with_the_connection_is_not_waited_for(nats: Natsd) -> None:
    async with open_bus(BusConfig(nats.url)) as bus:
        waiting = anyio.Event()

        async def ask() -> None:
            with bus.until_reconnected() as answering:
                waiting.set()
                await anyio.sleep_forever()
            assert answering.cancelled_caught

        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await waiting.wait()
                nats.restart()


async def test_what_is_asked_while_the_server_is_away_is_answered_once_it_is_back(nats: Natsd) -> None:
    async def answer(msg: Msg) -> None:
        await msg.respond(b"here")

    async with open_bus(BusConfig(nats.url)) as bus:
        await bus.subscribe("fast.self", answer)
        nats.kill()
        with anyio.fail_after(PATIENCE_S):
            while bus.is_connected:
                await anyio.sleep(0.01)
        with bus.until_reconnected() as answering:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.to_thread.run_sync, nats.restart)
                assert (await bus.request("fast.self", b"", timeout_s=10)).data == b"here"
        assert not answering.cancelled_caught


async def test_a_bus_without_its_server_closes_in_order(nats: Natsd) -> None:
    async with open_bus(BusConfig(nats.url)) as bus:
        nats.kill()
        for _ in range(100):
            await bus.publish("fast.lost", b"x" * 1000)
            await anyio.sleep(0.002)
    assert bus.connection.is_closed


async def test_a_bus_that_is_closed_does_not_try_to_come_back_even_where_a_cancellation_is_lost(
    nats: Natsd, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled, trying = 0, anyio.Event()

    async def connect(_server: object) -> None:
        nonlocal cancelled
        trying.set()
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            cancelled += 1
            if cancelled == 1:
                raise ConnectionRefusedError from None  # as asyncio.wait_for has it where both happen at once
            raise

    async with open_bus(BusConfig(nats.url)) as bus:
        monkeypatch.setattr(bus.connection, "_connect_to_server", connect)
        nats.kill()
        with anyio.fail_after(PATIENCE_S):
            await trying.wait()
    returning = bus.connection._reconnection_task
    assert returning is not None
    assert returning.done()


async def test_events_carry_who_says_them_and_their_fields(nats: Natsd) -> None:
    heard: list[Event] = []

    async def hear(msg: Msg) -> None:
        heard.append(decode(Event, msg.data))

    async with open_bus(BusConfig(nats.url, name="node-0")) as bus:
        await bus.subscribe(subjects.EVENT_ALL, hear)
        await bus.tell("replica_ready", "echo", "ready after 2 s", load_ms=2000.0)
        await bus.tell("node_started")
        await bus.flush()
        with anyio.fail_after(PATIENCE_S):
            while len(heard) < 2:
                await anyio.sleep(0.01)
    assert [(event.kind, event.source, event.function) for event in heard] == [
        ("replica_ready", "node-0", "echo"),
        ("node_started", "node-0", ""),
    ]
    assert heard[0].fields == {"load_ms": 2000.0}


@pytest.mark.parametrize("reachable", [True, False])
async def test_a_server_that_is_not_there_or_says_nothing_is_named(reachable: bool) -> None:
    with silent_server() as silent:
        url = silent if reachable else "nats://127.0.0.1:1"
        with pytest.raises(BusUnavailable) as caught, anyio.fail_after(PATIENCE_S):
            async with open_bus(BusConfig(url, connect_timeout_s=0.3)):
                pass
    assert url in str(caught.value)


async def test_what_does_not_decode_is_told_by_its_subject_and_what_comes_after_is_heard(
    nats: Natsd, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Event] = []
    async with open_bus(BusConfig(nats.url)) as bus:
        await bus.listen(subjects.EVENT_ALL, Event, heard.append)
        await bus.publish("fast.event.garbage", b"\xc1")
        await bus.tell("sound")
        with anyio.fail_after(PATIENCE_S):
            while not heard:
                await anyio.sleep(0.01)
    assert [event.kind for event in heard] == ["sound"]
    assert "message on fast.event.garbage ignored" in caplog.text
