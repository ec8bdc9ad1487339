"""A service's process: its answer to pings, how it ends, and children that end with it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import psutil
import pytest

from fastgshare.shared import subjects
from fastgshare.shared.bus import BusConfig, NoAnswer, open_bus
from fastgshare.shared.codec import decode
from fastgshare.shared.errors import BusUnavailable
from fastgshare.shared.messages import ServiceReady
from fastgshare.shared.service import answer_pings, first_cause, rss_mib
from tests.natsd import Natsd

SERVICE = """
import anyio, anyio.lowlevel
from fastgshare.shared.errors import BusUnavailable
from fastgshare.shared.service import run_service, stop_signal

async def crash():
    raise BusUnavailable(url="nats://nowhere", reason="timeout")

async def serve():
    async with anyio.create_task_group() as tasks:
        {body}

run_service("thing", serve)
"""

PARENT = """
import subprocess, sys, time
from functools import partial
import os
from fastgshare.shared.children import die_with_parent
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                         preexec_fn=partial(die_with_parent, os.getpid()))
print(child.pid, flush=True)
time.sleep(600)
"""

ORPHAN = """
from fastgshare.shared.children import die_with_parent
die_with_parent({not_the_parent})
print("still here")
"""


@contextmanager
def running(program: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


async def test_a_ping_is_answered_with_who_and_where_while_it_is_asked_to(nats: Natsd) -> None:
    async with open_bus(BusConfig(nats.url)) as bus:
        async with anyio.create_task_group() as tasks:
            await tasks.start(answer_pings, bus, "gateway", "gw-1", {"http": "http://127.0.0.1:8080"})
            ready = decode(ServiceReady, (await bus.request(subjects.ping("gateway"), b"", timeout_s=5)).data)
            tasks.cancel_scope.cancel()
        assert (ready.service, ready.instance, ready.pid) == ("gateway", "gw-1", os.getpid())
        assert ready.endpoints == {"http": "http://127.0.0.1:8080"}
        assert ready.rss_mib > 1
        with pytest.raises(NoAnswer):
            await bus.request(subjects.ping("gateway"), b"", timeout_s=5)


def test_a_fault_ends_the_process_with_a_status_and_one_clear_last_line() -> None:
    with running(SERVICE.format(body="tasks.start_soon(crash)")) as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors == "thing stopped: BusUnavailable: url=nats://nowhere, reason=timeout\n"


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_service_told_to_stop_ends_without_complaint(sig: signal.Signals) -> None:
    body = "tasks.start_soon(stop_signal); await anyio.lowlevel.checkpoint(); print('ready', flush=True)"
    with running(SERVICE.format(body=body)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(sig)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_the_innermost_fault_is_the_cause() -> None:
    fault = BusUnavailable(url="u", reason="r")
    group = BaseExceptionGroup("outer", [ExceptionGroup("inner", [fault, ValueError("other")])])
    assert first_cause(group) == "BusUnavailable: url=u, reason=r"
    assert first_cause(ValueError("wrong")) == "ValueError: wrong"
    assert first_cause(KeyError()) == "KeyError"


def test_memory_is_that_of_the_process_and_nothing_of_one_that_is_gone() -> None:
    assert rss_mib() == pytest.approx(psutil.Process().memory_info().rss / 2**20, rel=0.2)
    with running("pass") as process:
        process.wait(timeout=30)
    assert rss_mib(process.pid) == 0


def test_a_child_dies_with_a_parent_that_was_killed() -> None:
    with running(PARENT) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        assert psutil.wait_procs([child], timeout=10)[0] == [child]


def test_a_child_whose_parent_died_before_it_could_ask_ends_at_once() -> None:
    with running(ORPHAN.format(not_the_parent=1 if os.getpid() != 1 else 2)) as child:
        output, _ = child.communicate(timeout=30)
    assert (child.returncode, output) == (1, "")
