"""Asking the profiler for a function's table, following how it grows, and storing one that was measured elsewhere.

The profiler reports at least every two seconds while a request stands, so silence means that it is gone,
and its successor has to be asked again.
"""

import math
from collections.abc import AsyncGenerator
from contextlib import suppress

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream
from msgspec.structs import replace
from nats.aio.msg import Msg

from fastgshare.client.errors import TableBusy
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket, RevisionConflict, StorageUnavailable
from fastgshare.shared.bus import Bus, NoAnswer
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import ErrorBody, ErrorCode, PayloadInvalid, RequestRefused
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.leases import Lease
from fastgshare.shared.messages import Profile, ProfileProgress, ProfileRequest, ProfileState
from fastgshare.shared.minting import new_request_id

ASK_TIMEOUT_S = 2.0
SILENCE_S = 6.0
GIVE_UP_S = 30.0
RETRY_S = 0.25


async def profile(bus: Bus, request: ProfileRequest) -> AsyncGenerator[ProfileProgress, None]:
    """How far the table is, until it is complete or given up (then `state` is failed and `reason` says why).

    Raises:
        RequestRefused: no profiler answered for half a minute.
    """
    send, reports = anyio.create_memory_object_stream[ProfileProgress](math.inf)

    async def on_report(msg: Msg) -> None:
        try:
            send.send_nowait(decode(ProfileProgress, msg.data))
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
        TableBusy: a profiler measures that table now.
        StorageUnavailable: JetStream did not answer.
    """
    key = subjects.profile_key(table.model_digest, table.device_kind)
    # Who holds this lease is the key's one writer, as long as it takes: like a profiler, so that both never write.
    lease = Lease(bus, subjects.profile_lease(key), f"import-{new_request_id()}")
    if not await lease.acquire():
        raise TableBusy(function=function, device_kind=table.device_kind)
    try:
        tables = Bucket(bus, subjects.PROFILES, Profile)
        standing, revision = await tables.standing(key)
        version = standing.table_version + 1 if standing is not None else 1
        stored = replace(table, state=ProfileState.COMPLETE, reason="", table_version=version)
        await tables.replace(key, stored, revision)
        return stored
    except RevisionConflict as error:
        raise TableBusy(function=function, device_kind=table.device_kind) from error
    finally:
        with anyio.CancelScope(shield=True), suppress(StorageUnavailable):  # else it runs out by itself
            await lease.release()


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
