"""What `PromptClient` relies on in nats-py, and that nothing is lost, reordered or held back by it."""

import anyio
from nats.aio.msg import Msg

from fastgshare.shared.prompt import QUIET_MESSAGES, PromptClient
from tests.natsd import Natsd

WAIT_S = 20


async def test_messages_arrive_whole_and_in_order_alone_and_in_bursts(nats: Natsd) -> None:
    client = PromptClient()
    await client.connect(nats.url)
    received: list[bytes] = []
    done = anyio.Event()
    sizes = [1, 100, 70_000, 3, 500_000] + [20] * (20 * QUIET_MESSAGES)

    async def take(msg: Msg) -> None:
        received.append(msg.data)
        if len(received) == len(sizes):
            done.set()

    await client.subscribe("numbers", cb=take)
    for number, size in enumerate(sizes):
        await client.publish("numbers", f"{number}:".encode() + b"x" * size)
        if number < 5:
            await client.flush()
    with anyio.fail_after(WAIT_S):
        await done.wait()
    await client.close()
    assert [int(data.partition(b":")[0]) for data in received] == list(range(len(sizes)))
    assert [len(data.partition(b":")[2]) for data in received] == sizes


async def test_prompt_callbacks_see_every_message_and_their_faults_end_nothing(nats: Natsd) -> None:
    faults: list[Exception] = []

    async def note(error: Exception) -> None:
        faults.append(error)

    client = PromptClient()
    await client.connect(nats.url, error_cb=note)
    seen: list[bytes] = []
    done = anyio.Event()

    async def take(msg: Msg) -> None:
        seen.append(msg.data)
        if msg.data == b"bad":
            raise ValueError("no good")
        if msg.reply:
            await client.publish(msg.reply, msg.data, headers=msg.headers)
        if msg.data == b"last":
            done.set()

    subscription = await client.subscribe_prompt("ask", take, queue="q")
    await client.flush()
    answer = await client.request("ask", b"first", headers={"kind": "test"}, timeout=WAIT_S)
    assert (answer.data, answer.headers) == (b"first", {"kind": "test"})
    for data in (b"bad", b"last"):
        await client.publish("ask", data)
    with anyio.fail_after(WAIT_S):
        await done.wait()
    assert seen == [b"first", b"bad", b"last"]
    assert [type(fault) for fault in faults] == [ValueError]
    await subscription.unsubscribe()
    await client.publish("ask", b"nobody")
    await client.flush()
    assert len(seen) == 3
    await client.close()


async def test_a_lone_message_is_written_where_it_is_published(nats: Natsd) -> None:
    client = PromptClient()
    await client.connect(nats.url)
    await client.publish("alone", b"x")
    assert client.pending_data_size == 0
    await client.close()


async def test_what_is_published_while_the_server_is_away_arrives_when_it_is_back(nats: Natsd) -> None:
    back = anyio.Event()
    arrived = anyio.Event()

    async def reconnected() -> None:
        back.set()

    async def take(_: Msg) -> None:
        arrived.set()

    async def ignore(_: Exception) -> None:
        pass

    client = PromptClient()
    await client.connect(
        nats.url, reconnected_cb=reconnected, error_cb=ignore, max_reconnect_attempts=-1, reconnect_time_wait=0
    )
    await client.subscribe("later", cb=take)
    await client.flush()
    nats.kill()
    with anyio.fail_after(WAIT_S):
        while client.is_connected:
            await anyio.sleep(0.01)
    await client.publish("later", b"x")
    nats.restart()
    with anyio.fail_after(WAIT_S):
        await back.wait()
        await arrived.wait()
    await client.close()
