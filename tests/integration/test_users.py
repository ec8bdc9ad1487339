"""Under a user for each service the whole platform works, and each is refused what is not its own."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import nats.errors
import numpy as np
import pytest
from nats.aio.client import Client as Connection
from typer.testing import CliRunner

from fastgshare.cli.app import app
from fastgshare.client import Client, connect
from fastgshare.shared import subjects
from fastgshare.shared.access import inbox_prefix
from fastgshare.shared.buckets import Bucket
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import BusUnavailable
from fastgshare.shared.largeresults import LargeResults
from fastgshare.shared.messages import INFER_VERSION, FunctionSpec, InferReply, ServiceReady, Tensor
from fastgshare.shared.storage import ensure_storage
from tests.integration import functions
from tests.integration.doors import door, json_body, rows
from tests.integration.guarded import SERVICES, Guarded, guarded_bus, guarded_platform

LARGE = (600 << 10) // 4
DELETE_FUNCTIONS = "$JS.API.STREAM.DELETE.KV_functions"
NOT_TO_CLIENTS = (
    "_INBOX.gateway.x",
    "$JS.API.STREAM.INFO.KV_results",
    "$JS.API.STREAM.INFO.traces",
    "$JS.API.STREAM.MSG.GET.OBJ_large_results",
    "fast.event.leader_elected._",
)

REFUSED_PUBLISHES = {
    "gateway": ("$KV.placements.n.r", "$KV.replicas.n.r", "$KV.leases.leader", "fast.node.n.status", DELETE_FUNCTIONS),
    "scheduler": ("$KV.functions.f", "$KV.replicas.n.r", "$KV.leases.profile.k", "fast.replica.r", "fast.invoke.f"),
    "profiler": ("$KV.functions.f", "$KV.placements.n.r", "$KV.leases.leader", "fast.replica.r", "fast.invoke.f"),
    "node": ("$KV.functions.f", "$KV.placements.n.r", "$KV.profiles.p", "$O.models.C.x", "fast.invoke.f"),
    "client": ("$KV.functions.f", "$O.models.C.x", "fast.replica.r", "fast.profile.f", *NOT_TO_CLIENTS),
    "admin": ("$KV.placements.n.r", "$KV.leases.leader", "fast.replica.r", DELETE_FUNCTIONS, "_INBOX.client.x"),
    "provision": ("$KV.functions.f", "fast.invoke.f", DELETE_FUNCTIONS, "$JS.API.STREAM.MSG.GET.KV_keys"),
}
TOO_WIDE = (">", "fast.>", "fast.replica.*", "$KV.>", "_INBOX.>", "_INBOX.other.>")
REFUSED_SUBSCRIPTIONS = {
    **dict.fromkeys(("gateway", "scheduler", "profiler", "client", "admin", "provision"), TOO_WIDE),
    "node": (">", "fast.invoke.*", "$KV.keys.>", "_INBOX.gateway.>"),
}


@pytest.fixture(scope="module")
def bus_with_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """The bus alone."""
    with guarded_bus(tmp_path_factory.mktemp("users")) as guarded:
        yield guarded


@asynccontextmanager
async def client_as(guarded: Guarded, user: str) -> AsyncIterator[Client]:
    async with connect(guarded.url(user), env=guarded.env(user)) as client:
        yield client


@pytest.mark.timeout(180)
async def test_the_platform_works_with_a_user_for_each_service(tmp_path: Path) -> None:
    with guarded_platform(tmp_path) as guarded:
        async with client_as(guarded, "admin") as admin, client_as(guarded, "client") as client:
            await admin.deploy(functions.times("guarded", tmp_path, 2.0), timeout_s=60)
            answer = await client.invoke("guarded", {"x": rows(1.5)}, timeout_s=60)
            np.testing.assert_array_equal(answer.outputs["y"], rows(3.0))
            large = await client.invoke("guarded", {"x": rows(2.0, width=LARGE)}, timeout_s=60)
            np.testing.assert_array_equal(large.outputs["y"], rows(4.0, width=LARGE))
            await _over_http(admin)
            await _as_a_job(admin)
            await _in_parts(client)
            await _commands(guarded)
            assert {service.service for service in (await admin.status()).services} == set(SERVICES.values())
            await admin.delete("guarded")


async def _as_a_job(admin: Client) -> None:
    heard = await admin.bus.connection.subscribe(subjects.result("team.a"))
    job = await admin.submit("guarded", {"x": rows(1.5)}, address="team.a")
    result = await admin.result(job, wait_s=60)
    np.testing.assert_array_equal(result.outputs["y"], rows(3.0))
    news = json.loads((await heard.next_msg(60)).data)
    assert (news["id"], news["state"]) == (job, "done")


async def _over_http(admin: Client) -> None:
    answer = await admin.bus.request(subjects.ping("gateway"), b"", 10)
    url = decode(ServiceReady, answer.data).endpoints["http"]
    async with door(url) as http:
        response = await http.post("/v2/models/guarded/infer", json=json_body({"x": rows(1.5, width=2)}))
        assert response.status_code == 200, response.text
        assert response.json()["outputs"][0]["data"] == [3.0, 3.0]
        queued = await http.post(
            "/v2/models/guarded/infer_async",
            json=json_body({"x": rows(1.5, width=2)}),
            headers={"Fast-Result-Address": "team.http"},
        )
        assert queued.status_code == 202, queued.text
        assert (await http.get("/metrics")).status_code == 200


async def _in_parts(client: Client) -> None:
    parts = [part async for part in client.invoke_stream("guarded", {"x": rows(1.5)}, timeout_s=30)]
    np.testing.assert_array_equal(parts[0].outputs["y"], rows(3.0))


async def _commands(guarded: Guarded) -> None:
    """What the command reads off the streams; a refusal shows in the server's log, and here as what is not found."""
    assert await _command(guarded, "key", "create", "ci", "--rate", "5")
    assert "ci" in await _command(guarded, "key", "list")
    await _tells(guarded, "bill", "--since", "1h")  # a node writes what was used each second here
    await _tells(guarded, "top", "--once", "--watch", "1")
    while await _met_in_the_last_hour(guarded) is None:
        await anyio.sleep(0.2)
    traced = await _command(guarded, "invoke", "guarded", "-i", "x=[[" + ",".join(["1"] * 16) + "]]", "--trace")
    assert "trace" in traced
    await _tells(guarded, "trace", "--last", "5")


async def _tells(guarded: Guarded, *args: str) -> None:
    """Return once the command tells of the function: what it reads is there a moment later."""
    while "guarded" not in await _command(guarded, *args):
        await anyio.sleep(0.2)


async def _met_in_the_last_hour(guarded: Guarded) -> float | None:
    """As `top` has it, which was not there when the requests were: a gateway may tell it of them."""
    view = json.loads(await _command(guarded, "top", "--json", "--watch", "1"))
    share: float | None = view["functions"][0]["attainment"]["1h"]
    return share


async def _command(guarded: Guarded, *args: str) -> str:
    env = guarded.env("admin")
    done = await anyio.to_thread.run_sync(lambda: CliRunner().invoke(app, args, env=env))
    assert done.exit_code == 0, f"{args}: {done.output}"
    return done.stdout + done.stderr


async def test_what_stands_is_there_for_everybody_to_see_and_made_by_one(bus_with_users: Guarded) -> None:
    config = BusConfig(bus_with_users.url("node"), password_file=bus_with_users.password_file("node"))
    async with open_bus(config) as bus:
        await ensure_storage(bus)  # were anything missing, this user could not make it
        for stream in (f"KV_{subjects.REPLICAS}", f"KV_{subjects.PLACEMENTS}"):
            assert (await bus.jetstream.stream_info(stream)).config.num_replicas == 1


async def test_large_results_are_kept_by_gateways_and_fetched_by_who_asks_for_them(bus_with_users: Guarded) -> None:
    async with _bus_of(bus_with_users, "gateway") as gateway, _bus_of(bus_with_users, "admin") as admin:
        reply = InferReply(INFER_VERSION, (Tensor("y", "UINT8", (1 << 20,), memoryview(bytes(1 << 20))),))
        kept = await LargeResults(gateway).keep("job.1", encode(reply))
        for reader in (gateway, admin):
            assert await LargeResults(reader).fetch(kept) == reply
        for owner in (gateway, admin):  # who cancels a job that has ended makes room
            await LargeResults(gateway).keep(kept.name, encode(reply))
            await LargeResults(owner).forget(kept.name)
            assert (await LargeResults(admin).fetch(kept)).error is not None


def _bus_of(guarded: Guarded, user: str) -> AbstractAsyncContextManager[Bus]:
    return open_bus(BusConfig(guarded.url(user), password_file=guarded.password_file(user)))


@pytest.mark.parametrize("user", REFUSED_PUBLISHES)
async def test_what_is_not_its_own_a_user_cannot_do(bus_with_users: Guarded, user: str) -> None:
    refused: list[str] = []
    connection = await _connection(bus_with_users, user, refused)
    for subject in REFUSED_PUBLISHES[user]:
        await connection.publish(subject, b"")
    for subject in REFUSED_SUBSCRIPTIONS[user]:
        await connection.subscribe(subject)
    await connection.flush()
    await connection.flush()  # its errors come before the server's second answer
    await connection.close()
    for subject in REFUSED_PUBLISHES[user]:
        assert f'publish to "{subject.lower()}"' in "\n".join(refused)
    for subject in REFUSED_SUBSCRIPTIONS[user]:
        assert f'subscription to "{subject.lower()}"' in "\n".join(refused)


async def test_a_wrong_password_and_none_are_turned_away(bus_with_users: Guarded) -> None:
    wrong = bus_with_users.nats.url.replace("//", "//admin:wrong@")
    for url in (wrong, bus_with_users.nats.url):
        with pytest.raises(BusUnavailable) as caught:
            async with open_bus(BusConfig(url, connect_timeout_s=1.0)):
                pass
        assert "wrong" not in str(caught.value)


async def test_nobody_hears_anothers_answers(bus_with_users: Guarded) -> None:
    config = BusConfig(bus_with_users.url("client"), password_file=bus_with_users.password_file("client"))
    async with open_bus(config) as bus:
        assert bus.connection.new_inbox().startswith(inbox_prefix("client") + ".")


async def test_a_client_may_not_even_read_functions(bus_with_users: Guarded) -> None:
    config = BusConfig(bus_with_users.url("client"), password_file=bus_with_users.password_file("client"))
    async with open_bus(config) as bus, anyio.create_task_group() as tasks:
        tasks.start_soon(_is_not_answered, Bucket(bus, subjects.FUNCTIONS, FunctionSpec).store)
        last = partial(bus.jetstream.get_last_msg, f"KV_{subjects.FUNCTIONS}", "$KV.functions.any")
        tasks.start_soon(_is_not_answered, last)


async def _is_not_answered(call: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(nats.errors.TimeoutError):
        await call()


async def _connection(guarded: Guarded, user: str, refused: list[str]) -> Connection:
    async def on_error(error: Exception) -> None:
        refused.append(str(error))

    connection = Connection()
    await connection.connect(
        guarded.nats.url,
        user=user,
        password=Path(guarded.password_file(user)).read_text().strip(),
        error_cb=on_error,
        inbox_prefix=inbox_prefix(user),
        allow_reconnect=False,
    )
    return connection
