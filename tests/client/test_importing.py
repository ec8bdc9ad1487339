"""Tables measured elsewhere: they stand above what stood there, and never race a profiler."""

from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from fastgshare.client import Client, FunctionUnknown, TableBusy, TableForeign, profiling
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket
from fastgshare.shared.bus import Bus
from fastgshare.shared.ids import Digest
from fastgshare.shared.leases import Lease
from fastgshare.shared.messages import FunctionSpec, LeaseHolder, Profile, ProfileState
from tests.client import tables
from tests.client.test_management import platform
from tests.natsd import Natsd


async def deployed(client: Client, directory: Path) -> tuple[FunctionSpec, Profile, str]:
    """A function, a table of its model, and that table's key."""
    spec = await client.deploy(directory / "echo.yaml", wait=False)
    table = tables.table(model_digest=spec.model.digest, source="imported from h200.csv on 2026-11-26")
    return spec, table, subjects.profile_key(spec.model.digest, tables.KIND)


def stored_tables(bus: Bus) -> Bucket[Profile]:
    return Bucket(bus, subjects.PROFILES, Profile)


async def test_a_table_is_stored_complete_under_the_functions_model_and_its_kind(nats: Natsd, tmp_path: Path) -> None:
    async with platform(nats, tmp_path) as (client, bus):
        _, table, key = await deployed(client, tmp_path)
        given = replace(table, state=ProfileState.FAILED, reason="was lost there")
        stored = await client.import_profile("echo", given)
        assert stored == replace(table, table_version=1)
        assert await client.profiles("echo") == [stored]
        assert list(await stored_tables(bus).list()) == [key]
        assert not await Bucket(bus, subjects.LEASES, LeaseHolder).list()


async def test_it_stands_above_the_version_that_was_there(nats: Natsd, tmp_path: Path) -> None:
    async with platform(nats, tmp_path) as (client, bus):
        _, table, key = await deployed(client, tmp_path)
        await stored_tables(bus).put(key, replace(table, table_version=41, points=table.points[:1]))
        assert (await client.import_profile("echo", table)).table_version == 42
        await (await stored_tables(bus).store()).put(key, b"no table")
        assert (await client.import_profile("echo", table)).points == table.points


async def test_a_table_that_tells_no_model_is_taken_for_the_functions(nats: Natsd, tmp_path: Path) -> None:
    async with platform(nats, tmp_path) as (client, _):
        spec, table, _ = await deployed(client, tmp_path)
        stored = await client.import_profile("echo", replace(table, model_digest=Digest(""), source=""))
        assert (stored.model_digest, stored.source) == (spec.model.digest, "imported")


async def test_a_table_of_another_model_is_refused_unless_forced(nats: Natsd, tmp_path: Path) -> None:
    async with platform(nats, tmp_path) as (client, _):
        spec, table, _ = await deployed(client, tmp_path)
        other = replace(table, model_digest=tables.DIGEST)
        with pytest.raises(TableForeign, match=f"of model {tables.DIGEST}, expected {spec.model.digest}"):
            await client.import_profile("echo", other)
        assert await client.profiles("echo") == []
        assert (await client.import_profile("echo", other, force=True)).model_digest == spec.model.digest
        with pytest.raises(FunctionUnknown):
            await client.import_profile("ecko", other)


async def test_a_profiler_that_lets_go_is_waited_for(nats: Natsd, tmp_path: Path) -> None:
    async with platform(nats, tmp_path) as (client, bus), anyio.create_task_group() as group:
        _, table, key = await deployed(client, tmp_path)
        lease = Lease(bus, subjects.profile_lease(key), "profiler-1")
        assert await lease.acquire()
        group.start_soon(client.import_profile, "echo", table)
        await anyio.wait_all_tasks_blocked()
        assert await client.profiles("echo") == []
        await lease.release()
    async with platform(nats, tmp_path) as (client, _):
        assert [stored.points for stored in await client.profiles("echo")] == [table.points]


@pytest.mark.parametrize(
    ("holder", "told"),
    [
        ("profiler-1", "profiler profiler-1 is measuring"),
        ("import-1", "somebody else is importing or removing the table of"),
    ],
)
async def test_while_a_profiler_measures_the_table_nothing_is_imported(
    nats: Natsd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holder: str, told: str
) -> None:
    monkeypatch.setattr(profiling, "IMPORT_WAIT_S", 0.3)
    async with platform(nats, tmp_path) as (client, bus):
        _, table, key = await deployed(client, tmp_path)
        lease = Lease(bus, subjects.profile_lease(key), holder)
        assert await lease.acquire()
        with pytest.raises(TableBusy, match=f"{told} 'echo' on {tables.KIND}"):
            await client.import_profile("echo", table)
        assert await client.profiles("echo") == []
        assert lease.held
        await lease.release()
        await client.import_profile("echo", table)


async def test_a_table_that_changes_meanwhile_is_not_overwritten(
    nats: Natsd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with platform(nats, tmp_path) as (client, bus):
        _, table, key = await deployed(client, tmp_path)
        measured = replace(table, table_version=7)
        look = Bucket.standing

        async def look_too_early(bucket: Bucket[Profile], of: str) -> tuple[Profile | None, int]:
            seen = await look(bucket, of)
            await stored_tables(bus).put(key, measured)
            return seen

        monkeypatch.setattr(Bucket, "standing", look_too_early)
        with pytest.raises(TableBusy):
            await client.import_profile("echo", table)
        assert await client.profiles("echo") == [measured]


async def test_a_table_is_removed_once_and_the_lease_let_go(nats: Natsd, tmp_path: Path) -> None:
    async with platform(nats, tmp_path) as (client, bus):
        _, table, _ = await deployed(client, tmp_path)
        await client.import_profile("echo", table)
        assert await client.drop_profile("echo", tables.KIND)
        assert not await client.drop_profile("echo", tables.KIND)
        assert await client.profiles("echo") == []
        assert not await Bucket(bus, subjects.LEASES, LeaseHolder).list()
        with pytest.raises(FunctionUnknown):
            await client.drop_profile("ecko", tables.KIND)
