"""`make test-compose`, the bus as a cluster: one of its three servers is killed under load, and nothing is lost."""

from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from nats.js import errors as js_errors

from examples.demo.inputs import Example, all_examples
from fastgshare.client import Client
from fastgshare.shared import subjects
from fastgshare.shared.buckets import BUS_FAULTS
from fastgshare.shared.storage import STREAM_NAMES
from tests.compose.engine import ROOT, Composed, composed
from tests.compose.load import client_of, under_load

# While a server is away the engine's proxy answers for it and hangs up: nats-py forgets to close what it opened then.
pytestmark = [pytest.mark.timeout(1800), pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]
SERVERS = ("nats", "nats-2", "nats-3")
NOTE = subjects.event("noted", "cluster")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Composed]:
    with composed("fastgshare-cluster", "compose.yaml", "compose.cluster.yaml") as project:
        print(f"\ncluster_up_s {project.up():.1f}")
        yield project


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return all_examples(ROOT, seed=1)["filetype"]


async def test_everything_is_kept_three_times(cluster: Composed, tmp_path: Path) -> None:
    async with client_of(cluster, tmp_path, *SERVERS) as client:
        for name in STREAM_NAMES:
            info = await client.bus.jetstream.stream_info(name)
            assert info.config.num_replicas == 3
            assert info.cluster is not None
            assert len(info.cluster.replicas or []) == 2


@pytest.mark.parametrize("server", SERVERS)
async def test_a_server_that_is_killed_under_load_takes_nothing_along(
    cluster: Composed, examples: list[Example], tmp_path: Path, server: str
) -> None:
    async with client_of(cluster, tmp_path, *SERVERS) as client:
        if not await client.functions():
            await client.deploy(ROOT / "examples" / "functions" / "filetype" / "function.yaml", timeout_s=300)
        (container,) = cluster.ids(server)
        async with under_load(client, examples) as load, Notes(client) as notes:
            await anyio.to_thread.run_sync(cluster.crash, container)
            await load.more()
        assert await notes.missing() == set()
        assert [spec.name for spec in await client.functions()] == ["filetype"]


class Notes:
    """Writes to JetStream all the while; what was confirmed has to stand."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._confirmed: dict[int, bytes] = {}
        self._tasks = anyio.create_task_group()

    async def __aenter__(self) -> "Notes":
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._write)
        return self

    async def __aexit__(self, *error: object) -> None:
        before = len(self._confirmed)
        with anyio.fail_after(60):
            while len(self._confirmed) < before + 10:
                await anyio.sleep(0.05)
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def _write(self) -> None:
        number = 0
        while True:
            number += 1
            text = b"note %d" % number
            try:
                stored = await self._client.bus.jetstream.publish(NOTE, text, timeout=5)
            except BUS_FAULTS:
                await anyio.sleep(0.2)
            else:
                self._confirmed[stored.seq] = text
            await anyio.sleep(0.02)

    async def missing(self) -> set[int]:
        """The confirmed notes that are not there."""
        found: dict[int, bytes | None] = {}
        for sequence in self._confirmed:
            try:
                found[sequence] = (await self._client.bus.jetstream.get_msg(subjects.EVENT_STREAM, sequence)).data
            except js_errors.NotFoundError:
                found[sequence] = None
        return {sequence for sequence, text in self._confirmed.items() if found[sequence] != text}
