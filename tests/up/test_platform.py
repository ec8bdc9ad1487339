"""The platform as a library, with real processes, a real server, and services that only answer pings."""

import os
import socket
from pathlib import Path

import msgspec
import pytest

from fastgshare.cli.up.config import UpConfig
from fastgshare.cli.up.data_dir import Endpoints
from fastgshare.cli.up.errors import ChildHopeless, DataDirBusy, NotReadyInTime
from fastgshare.cli.up.platform import open_platform
from fastgshare.client.location import ENDPOINTS_FILE
from fastgshare.shared import subjects
from fastgshare.shared.bus import BusConfig, open_bus
from fastgshare.shared.errors import BusUnavailable
from tests.natsd import Natsd
from tests.up.scene import fake_config, still_running

SERVICES = {"gateway", "scheduler", "profiler", "node_manager"}


def changed(config: UpConfig, **changes: object) -> UpConfig:
    return msgspec.structs.replace(config, **changes)


async def test_everything_serves_inside_and_nothing_runs_after(tmp_path: Path) -> None:
    endpoints_file = tmp_path / ENDPOINTS_FILE
    async with open_platform(fake_config(tmp_path)) as platform:
        answers = await platform.roll_call()
        assert answers.keys() == SERVICES
        assert {name: answer.pid for name, answer in answers.items()} | {
            "nats": platform.pid_of("nats")
        } == platform.pids()
        found = msgspec.json.decode(endpoints_file.read_bytes(), type=Endpoints)
        assert found == platform.endpoints
        assert found.pid == os.getpid()
        async with open_bus(BusConfig(url=found.nats_url)) as bus:
            assert bus.max_payload_bytes == 8 << 20
            await bus.jetstream.key_value(subjects.FUNCTIONS)
        assert (tmp_path / "logs" / "gateway.log").exists()
    assert not endpoints_file.exists()
    assert still_running(tmp_path) == []


async def test_a_killed_service_comes_back_and_serves(tmp_path: Path) -> None:
    news: list[str] = []
    async with open_platform(fake_config(tmp_path), news.append) as platform:
        killed = platform.kill("scheduler")
        await platform.wait_ready()
        answers = await platform.roll_call()
        assert answers["scheduler"].pid == platform.pid_of("scheduler") != killed
    assert len(news) == 1
    assert news == ["scheduler killed by SIGKILL, starts again in 0.1 s"]


async def test_a_killed_server_comes_back_where_it_was_with_what_it_held(tmp_path: Path) -> None:
    async with open_platform(fake_config(tmp_path)) as platform:
        url = platform.endpoints.nats_url
        before = platform.pids()
        async with open_bus(BusConfig(url=url)) as bus:
            await (await bus.jetstream.key_value(subjects.FUNCTIONS)).put("kept", b"value")
        platform.kill("nats")
        await platform.wait_ready()
        answers = await platform.roll_call(timeout_s=30)
        assert {name: answer.pid for name, answer in answers.items()} == {
            name: pid for name, pid in before.items() if name != "nats"
        }
        async with open_bus(BusConfig(url=url)) as bus:
            assert (await (await bus.jetstream.key_value(subjects.FUNCTIONS)).get("kept")).value == b"value"


async def test_state_survives_the_platform(tmp_path: Path) -> None:
    config = fake_config(tmp_path)
    for expected in (None, b"value"):
        async with open_platform(config) as platform, open_bus(BusConfig(platform.endpoints.nats_url)) as bus:
            functions = await bus.jetstream.key_value(subjects.FUNCTIONS)
            if expected is None:
                await functions.put("kept", b"value")
            else:
                assert (await functions.get("kept")).value == expected


async def test_a_service_that_cannot_start_ends_the_attempt_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ChildHopeless, match=r"profiler cannot start: exited with status 3, 5 times") as fault:
        async with open_platform(fake_config(tmp_path, profiler="broken")):
            pytest.fail("it came up")
    assert "the widget is missing" in str(fault.value)
    assert still_running(tmp_path) == []


async def test_a_service_that_never_serves_is_named(tmp_path: Path) -> None:
    config = changed(fake_config(tmp_path, node_manager="deaf"), ready_timeout_s=3.0)
    with pytest.raises(NotReadyInTime, match=r"not ready after 3 s: .*node_manager"):
        async with open_platform(config):
            pytest.fail("it came up")
    assert still_running(tmp_path) == []


async def test_what_does_not_stop_is_killed(tmp_path: Path) -> None:
    news: list[str] = []
    config = changed(fake_config(tmp_path, scheduler="stubborn"), grace_s=0.2)
    async with open_platform(config, news.append):
        pass
    assert "scheduler did not stop within 0.2 s: killed" in news
    assert still_running(tmp_path) == []


async def test_what_a_dead_service_leaves_in_its_group_goes_with_it(tmp_path: Path) -> None:
    async with open_platform(fake_config(tmp_path, node_manager="parent")) as platform:
        (left,) = [process for process in still_running(tmp_path) if "signal.pause" in process.cmdline()[-1]]
        platform.kill("node_manager")
        await platform.wait_ready()
        assert left not in still_running(tmp_path)
    assert still_running(tmp_path) == []


async def test_one_platform_a_data_directory(tmp_path: Path) -> None:
    config = fake_config(tmp_path)
    async with open_platform(config):
        with pytest.raises(DataDirBusy, match=rf"\(pid {os.getpid()}\) runs on {tmp_path}"):
            async with open_platform(config):
                pytest.fail("it came up")


async def test_taken_ports_are_replaced_and_several_gateways_get_one_each(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nats, socket.create_server(("127.0.0.1", 0)) as http:
        taken = (nats.getsockname()[1], http.getsockname()[1])
        config = changed(fake_config(tmp_path), nats_port=taken[0], http_port=taken[1], gateways=2)
        async with open_platform(config) as platform:
            urls = [platform.endpoints.nats_url, *platform.endpoints.http_urls]
            answers = await platform.roll_call()
    assert len(set(urls)) == 3
    assert not any(url.endswith(f":{port}") for url in urls for port in taken)
    assert answers.keys() == SERVICES | {"gateway-2"}
    assert answers["gateway"].instance != answers["gateway-2"].instance


async def test_a_running_server_can_be_used_instead(tmp_path: Path, nats: Natsd) -> None:
    async with open_platform(changed(fake_config(tmp_path), nats_url=nats.url)) as platform:
        assert platform.endpoints.nats_url == nats.url
        assert platform.pids().keys() == SERVICES
    assert nats.pid is not None


async def test_a_server_that_is_not_there_is_named(tmp_path: Path, nats: Natsd) -> None:
    nats.kill()
    config = changed(fake_config(tmp_path), nats_url=nats.url, connect_timeout_s=0.5)
    with pytest.raises(BusUnavailable, match=nats.url):
        async with open_platform(config):
            pytest.fail("it came up")


async def test_the_callers_own_fault_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_platform(fake_config(tmp_path)):
            raise KeyError("mine")
    assert still_running(tmp_path) == []
