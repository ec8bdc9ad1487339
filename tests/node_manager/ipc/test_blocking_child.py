"""A child of a plain thread: what it started goes with it, and what it prints never holds it up."""

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgshare.node_manager.ipc.blocking_child import BlockingChild, ChildEnded, ChildSilent, start_child
from tests.node_manager.ipc.test_child import DIALECT, ECHO, LOOP, ROOT, Say
from tests.node_manager.processes import alive, until_dead

LIMIT_S = 20.0


class Children:
    """Children written as source, and what they printed."""

    def __init__(self, directory: Path, caplog: pytest.LogCaptureFixture) -> None:
        self._directory = directory
        self._caplog = caplog
        self._made: list[BlockingChild[Say, Say]] = []

    def start(self, source: str = LOOP) -> BlockingChild[Say, Say]:
        (self._directory / "child.py").write_text(ECHO + source)
        path = os.pathsep.join([str(self._directory), str(ROOT), os.environ.get("PYTHONPATH", "")])
        child = start_child("child", DIALECT, "kid", env={**os.environ, "PYTHONPATH": path})
        self._made.append(child)
        return child

    @property
    def log(self) -> list[str]:
        return [record.getMessage() for record in self._caplog.records if record.getMessage().startswith("kid: ")]

    def end(self) -> None:
        for child in self._made:
            child.end()


@pytest.fixture
def children(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Children]:
    caplog.set_level(logging.INFO)
    made = Children(tmp_path, caplog)
    yield made
    made.end()


def test_messages_go_both_ways_and_its_end_is_told(children: Children) -> None:
    child = children.start()
    for number in range(3):
        child.send(Say(number, memoryview(bytes(number * 100_000))))
        assert child.receive(LIMIT_S) == Say(number, memoryview(bytes(number * 100_000)))
    assert alive(child.pid)
    assert child.end() == "SIGKILL; its last words: arguments []"
    assert not child.is_running
    with pytest.raises(ChildEnded, match="SIGKILL"):
        child.send(Say(1))
    assert children.log == ["kid: arguments []"]


def test_one_that_says_nothing_is_not_waited_for(children: Children) -> None:
    child = children.start("time.sleep(3600)")
    with pytest.raises(ChildSilent):
        child.receive(0.1)
    assert child.is_running
    assert not child.wait(0.01)


def test_what_it_started_ends_with_it(children: Children) -> None:
    child = children.start("p = subprocess.Popen(['sleep', '3600'])\nchannel.send(Say(p.pid))\n" + LOOP)
    grandchild = child.receive(LIMIT_S).number
    assert alive(grandchild)
    child.end()
    until_dead(grandchild)


def test_one_that_ends_while_its_own_child_holds_the_line_has_ended(children: Children) -> None:
    child = children.start("sock.set_inheritable(True)\nif os.fork():\n    os._exit(7)\ntime.sleep(3600)")
    with pytest.raises(ChildEnded, match="exit status 7"):
        child.receive(LIMIT_S)


def test_a_flood_of_output_holds_nobody_up(children: Children) -> None:
    child = children.start(
        "channel.send(Say(1))\nfor _ in range(200_000): print('x' * 20)\nchannel.send(Say(2))\n" + LOOP
    )
    begun_s = time.monotonic()
    assert child.receive(LIMIT_S).number == 1
    assert child.receive(LIMIT_S).number == 2
    child.end()
    assert time.monotonic() - begun_s < LIMIT_S
    assert 1000 <= len(children.log) < 20_000
    assert any("lines dropped" in line for line in children.log)
