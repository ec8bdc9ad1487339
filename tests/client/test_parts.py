"""Answers in parts over a bus that is lost in the middle: the rest comes, or the caller is told what to do."""

from contextlib import aclosing

import anyio
import anyio.to_thread
import numpy as np
import pytest
from nats.aio.msg import Msg

from fastgshare.client import Client, RequestRefused, connect
from fastgshare.client import inference as client_inference
from fastgshare.client.patience import Patience
from fastgshare.shared import subjects
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.codec import encode
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.ids import AttemptId, RequestId
from fastgshare.shared.messages import INFER_VERSION, InferReply, InferRequest, Tensor
from tests.client.fake_gateway import REPLICA, FakeGateway, run_gateway
from tests.natsd import Natsd

SMALL = np.arange(4, dtype=np.float32)
PATIENCE_S = 30.0


class Parts:
    """Answers with one part, and with more when it is told to; hears what is withdrawn."""

    def __init__(self) -> None:
        self.reply_to = ""
        self.request = RequestId("")
        self.withdrawn: list[Msg] = []

    async def answer(self, gateway: FakeGateway, msg: Msg, request: InferRequest) -> None:
        """The first part."""
        self.reply_to, self.request = msg.reply, request.request_id
        await self.say(gateway, 0)

    async def say(self, gateway: FakeGateway, part: int, attempt: int = 1, *, more: bool = True) -> None:
        """One part."""
        output = Tensor("y", "UINT8", (1,), memoryview(bytes([part])))
        name = AttemptId(f"{self.request}.{attempt}")
        reply = InferReply(INFER_VERSION, (output,), replica=REPLICA, attempt=name, part=part, more=more)
        await gateway.bus.publish(self.reply_to, encode(reply))

    async def listen(self, gateway: FakeGateway) -> None:
        """Hear of withdrawals from now on."""

        async def on_withdraw(msg: Msg) -> None:
            self.withdrawn.append(msg)

        await gateway.bus.subscribe(subjects.withdraw(RequestId("*")), on_withdraw)
        await gateway.bus.flush()

    async def until_withdrawn(self) -> Msg:
        """The withdrawal."""
        with anyio.fail_after(PATIENCE_S):
            while not self.withdrawn:
                await anyio.sleep(0.01)
        return self.withdrawn[0]


async def reconnected(nats: Natsd, client: Client, gateway: FakeGateway) -> None:
    """Return once both are back on a server that was started anew."""
    again = [anyio.Event(), anyio.Event()]
    for bus, event in zip((client.bus, gateway.bus), again, strict=True):
        bus.on_reconnect(event.set)
    await anyio.to_thread.run_sync(nats.restart)
    with anyio.fail_after(PATIENCE_S):
        for event in again:
            await event.wait()
    await client.bus.flush()  # its subscriptions stand again
    await gateway.bus.flush()


async def test_parts_of_which_none_was_lost_go_on(nats: Natsd) -> None:
    parts = Parts()
    async with (
        run_gateway(nats.url, parts.answer) as gateway,
        connect(nats.url) as client,
        aclosing(client.invoke_stream("echo", {"x": SMALL}, timeout_s=300)) as results,
    ):
        assert (await anext(results)).outputs["y"].tolist() == [0]
        await reconnected(nats, client, gateway)
        await parts.say(gateway, 1)
        await parts.say(gateway, 2, more=False)
        assert [result.outputs["y"].tolist() async for result in results] == [[1], [2]]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ((2, 1), "part 1 was lost"),
        ((0, 2), "its replica or the bus was lost, and it was begun anew"),
        (None, "the connection to the bus was made anew, and nothing came since"),
    ],
)
async def test_parts_that_are_lost_end_the_answer_in_words_and_free_what_is_left_of_it(
    nats: Natsd, monkeypatch: pytest.MonkeyPatch, said: tuple[int, int] | None, why: str
) -> None:
    monkeypatch.setattr(client_inference, "CUT_PATIENCE_S", 0.2 if said is None else PATIENCE_S)
    parts = Parts()
    async with (
        run_gateway(nats.url, parts.answer) as gateway,
        connect(nats.url) as client,
        aclosing(client.invoke_stream("echo", {"x": SMALL}, timeout_s=300)) as results,
    ):
        await anext(results)
        await parts.listen(gateway)
        await reconnected(nats, client, gateway)
        if said is not None:
            await parts.say(gateway, *said)
        with anyio.fail_after(PATIENCE_S), pytest.raises(RequestRefused) as refused:
            await anext(results)
        body = refused.value.body
        assert (body.code, body.retry_after_ms > 0) == (ErrorCode.UNAVAILABLE, True)
        assert body.message == f"the stream broke off after 1 parts: {why}; call again for the whole answer"
        assert (await parts.until_withdrawn()).data.decode() == parts.request


async def test_what_came_before_the_bus_was_lost_does_not_tell_that_nothing_else_was(
    nats: Natsd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_inference, "CUT_PATIENCE_S", 0.2)
    parts = Parts()
    async with (
        run_gateway(nats.url, parts.answer) as gateway,
        connect(nats.url) as client,
        aclosing(client.invoke_stream("echo", {"x": SMALL}, timeout_s=300)) as results,
    ):
        await anext(results)
        await parts.say(gateway, 1)
        await gateway.bus.flush()
        await client.bus.flush()  # it is here, and waits to be taken
        await reconnected(nats, client, gateway)
        assert (await anext(results)).outputs["y"].tolist() == [1]
        with anyio.fail_after(PATIENCE_S), pytest.raises(RequestRefused, match="broke off after 2 parts"):
            await anext(results)


async def test_the_time_to_ask_again_ends_no_answer_that_has_begun(
    nats: Natsd, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    def soon(patience: Patience) -> int:
        looked.append(monotonic_us())
        return min(patience.deadline_us, looked[-1] + 10_000)

    parts = Parts()
    async with (
        run_gateway(nats.url, parts.answer) as gateway,
        connect(nats.url) as client,
        aclosing(client.invoke_stream("echo", {"x": SMALL}, timeout_s=300)) as results,
    ):
        await anext(results)
        await reconnected(nats, client, gateway)
        monkeypatch.setattr(Patience, "wake_us", property(soon))

        async def go_on() -> None:
            while len(looked) < 3:
                await anyio.sleep(0.01)
            await parts.say(gateway, 1, more=False)

        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(go_on)
                assert (await anext(results)).outputs["y"].tolist() == [1]


async def test_who_leaves_in_the_middle_says_how_long_the_first_part_took(nats: Natsd) -> None:
    parts = Parts()
    async with run_gateway(nats.url, parts.answer) as gateway, connect(nats.url) as client:
        await parts.listen(gateway)
        began_s = anyio.current_time()
        async with aclosing(client.invoke_stream("echo", {"x": SMALL}, timeout_s=300)) as results:
            await anext(results)
            took_us = (anyio.current_time() - began_s) * 1e6
        withdrawn = await parts.until_withdrawn()
        assert withdrawn.headers is not None
        assert 0 < int(withdrawn.headers[subjects.FIRST_PART_US]) <= took_us
