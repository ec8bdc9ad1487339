"""Asking the profiler for a function's table, following how it grows, storing one measured elsewhere and removing one.

The profiler reports at least every two seconds while a request stands, so silence means that it is gone,
and its successor has to be asked again.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from msgspec.structs import replace
from nats.aio.msg import Msg

from fastgshare.client.errors import IMPORTING, TableBusy
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket, RevisionConflict, StorageUnavailable
from fastgshare.shared.bus import Bus, NoAnswer
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import ErrorBody, ErrorCode, PayloadInvalid, RequestRefused
from fastgshare.shared.ids import Digest, FunctionName
from fastgshare.shared.leases import Lease
from fastgshare.shared.messages import LeaseHolder, Profile, ProfileProgress, ProfileRequest, ProfileState
from fastgshare.shared.minting import new_request_id

ASK_TIMEOUT_S = 2.0
SILENCE_S = 6.0
GIVE_UP_S = 30.0
RETRY_S = 0.25
REPORTS_KEPT = 256
IMPORT_WAIT_S = 10.0
"""A profiler that only waits for a slice lets go of the table sooner, unless somebody asked for it."""


async def profile(bus: Bus, request: ProfileRequest) -> AsyncGenerator[ProfileProgress, None]:
    """How far the table is, until it is complete or given up (then `state` is failed and `reason` says why).

    Raises:
        RequestRefused: no profiler answered for half a minute.
    """
    send, reports = anyio.create_memory_object_stream[ProfileProgress](REPORTS_KEPT)

    async def on_report(msg: Msg) -> None:
        try:
            _keep_newest(send, reports, decode(ProfileProgress, msg.data))
        except PayloadInvalid:
            return

    subscription = await bus.subscribe(subjects.profile_progress(FunctionName(request.function)), on_report)
    with send, reports:
        try:
            progress: ProfileProgress | None = None
            while progress is None or progress.state is ProfileState.MEASURING:
                progress = await _next_report(reports) if progress is not None else None
                if progress is None:
                    progress = await _ask(bus, request)
                yield progress
        finally:
            await subscription.unsubscribe()


async def import_table(bus: Bus, function: FunctionName, table: Profile) -> Profile:
    """Make `table` the one of its model and kind of device: as it is stored, above the version that stood there.

    Raises:
        TableBusy: somebody else held that table for ten seconds, or changed it.
        StorageUnavailable: JetStream did not answer.
    """
    key = subjects.profile_key(table.model_digest, table.device_kind)
    async with _sole_writer(bus, function, table.device_kind, key) as tables:
        standing, revision = await tables.standing(key)
        version = standing.table_version + 1 if standing is not None else 1
        stored = replace(table, state=ProfileState.COMPLETE, reason="", table_version=version)
        await tables.replace(key, stored, revision)
        return stored


async def drop_table(bus: Bus, function: FunctionName, model: Digest, device_kind: str) -> bool:
    """Remove the table of this model on this kind of device; whether there was one. Raises as `import_table`."""
    key = subjects.profile_key(model, device_kind)
    async with _sole_writer(bus, function, device_kind, key) as tables:
        _, revision = await tables.standing(key)
        if revision:
            await tables.delete(key, revision)
        return revision > 0


@asynccontextmanager
async def _sole_writer(bus: Bus, function: FunctionName, device_kind: str, key: str) -> AsyncGenerator[Bucket[Profile]]:
    """The tables, while nobody else writes this one. Raises TableBusy."""
    # Who holds this lease is the key's one writer, as long as it takes: like a profiler, so that both never write.
    lease = Lease(bus, subjects.profile_lease(key), f"{IMPORTING}{new_request_id()}")
    with anyio.move_on_after(IMPORT_WAIT_S):
        while not await lease.acquire():
            await anyio.sleep(RETRY_S)
    if not lease.held:
        raise TableBusy(function=function, device_kind=device_kind, holder=await _holder(bus, lease.key))
    try:
        yield Bucket(bus, subjects.PROFILES, Profile)
    except RevisionConflict as error:
        raise TableBusy(function=function, device_kind=device_kind, holder="") from error
    finally:
        with anyio.CancelScope(shield=True), suppress(StorageUnavailable):  # else it runs out by itself
            await lease.release()


async def _holder(bus: Bus, key: str) -> str:
    """Who holds a lease now; empty where nobody does."""
    with suppress(PayloadInvalid):
        found = await Bucket(bus, subjects.LEASES, LeaseHolder).get(key)
        return found[0].holder if found is not None else ""
    return ""


def _keep_newest(
    send: MemoryObjectSendStream[ProfileProgress],
    reports: MemoryObjectReceiveStream[ProfileProgress],
    report: ProfileProgress,
) -> None:
    """Who reads slowly misses old reports, never the last one."""
    try:
        send.send_nowait(report)
    except anyio.WouldBlock:
        reports.receive_nowait()
        send.send_nowait(report)


async def _ask(bus: Bus, request: ProfileRequest) -> ProfileProgress:
    payload = encode(request)
    with anyio.move_on_after(GIVE_UP_S):
        while True:
            try:
                answer = await bus.request(subjects.profile(FunctionName(request.function)), payload, ASK_TIMEOUT_S)
                return decode(ProfileProgress, answer.data)
            except NoAnswer:
                await anyio.sleep(RETRY_S)
    raise RequestRefused(ErrorBody(ErrorCode.UNAVAILABLE, f"no profiler answered within {GIVE_UP_S:g} s"))


async def _next_report(reports: MemoryObjectReceiveStream[ProfileProgress]) -> ProfileProgress | None:
    with anyio.move_on_after(SILENCE_S):
        return await reports.receive()
    return None
