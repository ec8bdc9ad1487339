"""`fastgshare top` as a process: on a bus that carries made facts, printing, and in a real terminal."""

import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from shlex import join

import anyio
import msgspec
import pytest

from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.codec import encode
from fastgshare.shared.ids import GatewayId
from fastgshare.shared.messages import FunctionSpec, ReplicaStatus, Slice
from fastgshare.shared.overview.view import PlatformView
from fastgshare.shared.storage import ensure_storage
from tests.natsd import Natsd
from tests.shared.overview.platform import NODE, OCR, counts, node, replica, report, spec

PATIENCE_S = 30
TMUX = shutil.which("tmux")


async def test_what_is_seen_is_printed(nats: Natsd) -> None:
    async with _platform(nats):
        lines = await _top(nats, "--once", "--watch", "0.7")
        for told in ("1 device", "n1-cpu0 · cpu · 2 chunks", "O ocr", "p99 100 ms", "nats://127.0.0.1"):
            while told not in lines:  # it was spoken of too seldom while the command looked
                lines = await _top(nats, "--once", "--watch", "2")
        view = await _view(nats)
        while not view.devices or not view.functions[0].attainment:
            view = await _view(nats)
        assert view.devices[0].replicas[0].pieces[0].height == 0.5
        assert view.functions[0].attainment["1m"] == pytest.approx(0.9)


@pytest.mark.timeout(180)
@pytest.mark.skipif(TMUX is None, reason="needs tmux, for a real terminal")
async def test_it_lives_in_a_terminal_and_leaves_it_as_it_was(nats: Natsd, tmp_path: Path) -> None:
    async with _platform(nats) as bus:
        with _terminal(tmp_path, [sys.executable, "-m", "fastgshare.cli", "top", "--url", nats.url]) as terminal:
            await terminal.sees("O ocr", "n1-cpu0", "!90.0%")
            terminal.press("c")
            await terminal.sees("How many replicas of ocr?")
            terminal.press("3", "Enter")
            await terminal.sees("3 replicas wanted from now on")
            found = await Bucket(bus, subjects.FUNCTIONS, FunctionSpec).get(OCR)
            assert found is not None
            assert found[0].replicas == 3
            terminal.press("q")
            await terminal.sees("ended with 0")


async def _top(nats: Natsd, *options: str) -> str:
    command = [sys.executable, "-m", "fastgshare.cli", "top", "--url", nats.url, *options]
    with anyio.fail_after(PATIENCE_S):
        return (await anyio.run_process(command)).stdout.decode()


async def _view(nats: Natsd) -> PlatformView:
    return msgspec.json.decode(await _top(nats, "--json", "--watch", "1"), type=PlatformView)


@asynccontextmanager
async def _platform(nats: Natsd) -> AsyncIterator[Bus]:
    """A node and a gateway that speak, and nothing behind them."""
    async with open_bus(BusConfig(url=nats.url)) as bus:
        await ensure_storage(bus)
        await Bucket(bus, subjects.FUNCTIONS, FunctionSpec).put(OCR, spec())
        held = replica("ocr-1", slice=Slice(quota_request=0.5))
        await Bucket(bus, subjects.REPLICAS, ReplicaStatus).put(subjects.fleet_key(NODE, held.replica), held)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_speak, bus)
            yield bus
            tasks.cancel_scope.cancel()


async def _speak(bus: Bus) -> None:
    second = 0
    while True:
        second += 1
        await bus.publish(subjects.node_status(NODE), encode(node({"ocr-1": 0.25}, ("ocr-1",))))
        told = report(counts(met=9 * second, missed=second))
        await bus.publish(subjects.report(GatewayId("g1")), encode(told))
        await anyio.sleep(0.3)


class Terminal:
    """A terminal of the smallest size that something runs in."""

    def __init__(self, tmux: list[str]) -> None:
        self._tmux = tmux

    def press(self, *keys: str) -> None:
        """Press them."""
        subprocess.run([*self._tmux, "send-keys", *keys], check=True)

    async def sees(self, *words: str) -> None:
        """Wait until all of this stands there."""
        screen = ""
        with anyio.move_on_after(PATIENCE_S):
            while not all(word in screen for word in words):
                await anyio.sleep(0.1)
                screen = (await anyio.run_process([*self._tmux, "capture-pane", "-p"])).stdout.decode()
        assert all(word in screen for word in words), f"{words} in\n{screen}"


@contextmanager
def _terminal(directory: Path, command: list[str]) -> Iterator[Terminal]:
    assert TMUX is not None
    tmux = [TMUX, "-S", str(directory / "tmux"), "-f", "/dev/null"]
    script = f"{join(command)}; echo ended with $?; exec sleep 600"
    subprocess.run([*tmux, "new-session", "-d", "-x", "80", "-y", "24", script], check=True)
    try:
        yield Terminal(tmux)
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)
