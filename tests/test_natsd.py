"""The server that other tests lean on keeps its promises."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

from fastgshare.shared.bus import BusConfig, open_bus
from fastgshare.shared.storage import ensure_storage
from tests.natsd import MAX_PAYLOAD_BYTES, Natsd


async def test_a_killed_server_comes_back_on_its_port_with_what_was_stored(nats: Natsd) -> None:
    url = nats.url
    async with open_bus(BusConfig(url=url)) as bus:
        await ensure_storage(bus)
        await (await bus.jetstream.key_value("functions")).put("kept", b"value")
        assert bus.max_payload_bytes == MAX_PAYLOAD_BYTES
    nats.kill()
    assert nats.pid is None
    nats.restart()
    assert nats.url == url
    async with open_bus(BusConfig(url=url)) as bus:
        assert (await (await bus.jetstream.key_value("functions")).get("kept")).value == b"value"


def test_a_synchronous_test_can_use_it_too(nats: Natsd) -> None:
    nats.restart()
    assert nats.pid


def test_a_port_that_somebody_has_for_a_moment_is_waited_for(nats: Natsd) -> None:
    nats.kill()
    with ThreadPoolExecutor(1) as pool:
        with socket.create_server(("127.0.0.1", nats.port)):
            started = pool.submit(nats.start)
            while "address already in use" not in nats.log():
                time.sleep(0.01)
        started.result()
        assert nats.pid
        nats.kill()
