"""A child and its parent: messages both ways, the child's last words, and nobody left over, on both event loops."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest
from msgspec.msgpack import Decoder

from fastgshare.node_manager.ipc.channel import UNREAD_LIMIT_BYTES, Channel, open_channel
from fastgshare.node_manager.ipc.child import Child, ending, open_child
from fastgshare.node_manager.ipc.frames import ChannelClosed, Dialect, FrameTooLarge
from tests.node_manager.processes import alive, until, until_dead

ROOT = Path(__file__).parents[3]


class Say(msgspec.Struct, frozen=True, array_like=True, tag=True):
    number: int
    data: memoryview = memoryview(b"")


DIALECT: Dialect[Say, Say] = Dialect(Decoder(Say))
ECHO = """
import os, subprocess, sys, time
import msgspec
from tests.node_manager.ipc.test_child import DIALECT, Say
from fastgshare.node_manager.ipc.blocking import BlockingChannel, inherited_socket

sock, own = inherited_socket(sys.argv[1:])
channel = BlockingChannel(sock, DIALECT)
print("arguments", own, flush=True)
"""
LOOP = """
while (message := channel.receive()) is not None:
    channel.send(message)
print("the parent has closed")
sys.exit(5)
"""
Scenario = Callable[[], Awaitable[None]]


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
def on_loop(request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
    def run(scenario: Scenario) -> None:
        anyio.run(scenario, backend_options={"use_uvloop": request.param})

    return run


class Nursery:
    """Children written as source, and what they printed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log: list[str] = []

    @asynccontextmanager
    async def child(self, source: str = LOOP, *args: str) -> AsyncIterator[Child[Say, Say]]:
        (self.directory / "child.py").write_text(ECHO + source)
        path = os.pathsep.join([str(self.directory), str(ROOT), os.environ.get("PYTHONPATH", "")])
        env = {**os.environ, "PYTHONPATH": path}
        async with open_child("child", DIALECT, self.log.append, args, env) as child:
            yield child


@pytest.fixture
def nursery(tmp_path: Path) -> Nursery:
    return Nursery(tmp_path)


def test_messages_go_both_ways_and_the_end_is_an_end(nursery: Nursery, on_loop: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        async with nursery.child(LOOP, "--name", "x") as child:
            for number in range(3):
                await child.channel.send(Say(number, memoryview(bytes(number * 100_000))))
            assert [await child.channel.receive() for _ in range(3)] == [
                Say(number, memoryview(bytes(number * 100_000))) for number in range(3)
            ]
            await child.channel.aclose()
            assert await child.wait() == 5
            assert await child.channel.receive() is None
            with pytest.raises(ChannelClosed):
                await child.channel.send(Say(1))
        assert nursery.log == ["arguments ['--name', 'x']", "the parent has closed"]

    on_loop(scenario)


def test_a_child_that_dies_is_the_end_of_the_stream_after_all_it_said(
    nursery: Nursery, on_loop: Callable[[Scenario], None]
) -> None:
    async def scenario() -> None:
        source = "for n in range(3): channel.send(Say(n))\nprint('done', end='', flush=True)\nos.kill(os.getpid(), 9)"
        async with nursery.child(source) as child:
            assert [await child.channel.receive() for _ in range(4)] == [Say(0), Say(1), Say(2), None]
            assert await child.wait() == -signal.SIGKILL
        assert nursery.log == ["arguments []", "done"]

    on_loop(scenario)


def test_a_child_dies_with_its_context_and_takes_along_what_it_started(
    nursery: Nursery, on_loop: Callable[[Scenario], None]
) -> None:
    async def scenario() -> None:
        source = "p = subprocess.Popen(['sleep', '3600'])\nchannel.send(Say(p.pid))\n" + LOOP
        async with nursery.child(source) as child:
            message = await child.channel.receive()
            assert message is not None
            assert alive(child.pid)
            assert os.getpgid(message.number) == child.pid
        await until(lambda: not alive(child.pid) and not alive(message.number))
        assert child.returncode == -signal.SIGKILL

    on_loop(scenario)


def test_what_a_child_leaves_behind_when_it_ends_goes_too(
    nursery: Nursery, on_loop: Callable[[Scenario], None]
) -> None:
    async def scenario() -> None:
        # A fork holds the socket and the output: without an end to it, neither would ever close.
        source = "pid = os.fork()\nif pid: channel.send(Say(pid)); os._exit(0)\ntime.sleep(3600)"
        async with nursery.child(source) as child:
            message = await child.channel.receive()
            assert message is not None
            assert await child.wait() == 0
            assert await child.channel.receive() is None
            await until(lambda: not alive(message.number))

    on_loop(scenario)


def test_a_child_hears_nothing_of_a_terminals_interrupt(nursery: Nursery, on_loop: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        async with nursery.child() as child:
            await until(lambda: nursery.log)
            assert os.getsid(child.pid) == child.pid
            child.send_signal(signal.SIGTERM)
            assert await child.wait() == -signal.SIGTERM
            child.send_signal(signal.SIGTERM)  # nothing to signal any more
            child.kill()

    on_loop(scenario)


def test_a_flood_of_output_does_not_hold_the_child_up(nursery: Nursery, on_loop: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        source = "for n in range(300_000): print('line', n)\nsys.stdout.flush()\nchannel.send(Say(1))\n" + LOOP
        async with nursery.child(source) as child:
            assert await child.channel.receive() == Say(1)
        assert nursery.log[1] == "line 0"
        assert len(nursery.log) < 50_000
        assert any("lines dropped" in line for line in nursery.log)

    on_loop(scenario)


@asynccontextmanager
async def a_pair() -> AsyncIterator[tuple[Channel[Say, Say], Channel[Say, Say]]]:
    ours, theirs = socket.socketpair()
    async with open_channel(ours, DIALECT) as left, open_channel(theirs, DIALECT) as right:
        yield left, right


def test_a_receiver_that_lags_slows_its_sender_down_and_loses_nothing(on_loop: Callable[[Scenario], None]) -> None:
    count, size_bytes = 40, UNREAD_LIMIT_BYTES // 8
    sent = 0

    async def send_all(channel: Channel[Say, Say]) -> None:
        nonlocal sent
        for number in range(count):
            await channel.send(Say(number, memoryview(bytes(size_bytes))))
            sent += 1

    async def scenario() -> None:
        async with a_pair() as (left, right), anyio.create_task_group() as tasks:
            tasks.start_soon(send_all, left)
            await anyio.wait_all_tasks_blocked()
            assert sent < count // 2  # what fits into the buffers between them
            for number in range(count):
                message = await right.receive()
                assert message is not None
                assert message.number == number

    on_loop(scenario)


def test_a_cancelled_receive_loses_nothing(on_loop: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        async with a_pair() as (left, right):
            with anyio.move_on_after(0.01):
                await right.receive()
            await left.send(Say(1))
            assert await right.receive() == Say(1)

    on_loop(scenario)


def test_a_frame_beyond_bounds_ends_the_stream_by_name(on_loop: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            async with open_channel(ours, DIALECT) as channel:
                theirs.sendall(b"\xff\xff\xff\xff")
                with pytest.raises(FrameTooLarge):
                    await channel.receive()
                with pytest.raises(FrameTooLarge):
                    await channel.receive()

    on_loop(scenario)


PARENT = """
import sys
from pathlib import Path
import anyio
from tests.node_manager.ipc.test_child import Nursery

async def main():
    async with Nursery(Path(sys.argv[1])).child("while True: time.sleep(1)") as child:
        print(child.pid, flush=True)
        await anyio.sleep_forever()

anyio.run(main, backend_options={"use_uvloop": True})
"""


def test_a_child_that_listens_to_nobody_dies_with_its_parent(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    until_dead(pid)


def test_a_child_without_its_parent_does_not_begin(tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(ECHO)
    ended = subprocess.run(
        [sys.executable, "-m", "child", "--fd", "0", "--parent", "1"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, b"")


@pytest.mark.parametrize(("returncode", "words"), [(3, "exit status 3"), (-9, "SIGKILL"), (-63, "signal 63")])
def test_ends_have_words(returncode: int, words: str) -> None:
    assert ending(returncode) == words
