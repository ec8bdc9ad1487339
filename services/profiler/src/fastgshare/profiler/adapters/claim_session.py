"""One claim from the attempt to its end: leases held, commands of its key carried out one after the other.

The claim ends when it is released, when a lease is lost, or when its table was changed by somebody else or cannot be
stored; whatever was being done then is dropped. Tables are written at the revision read when the claim began, so a
writer that only believes it holds the claim overwrites nothing.
"""

import logging
from collections.abc import Callable

import anyio

from fastgshare.profiler.core.commands import Claim, Measure, Release, StoreTable
from fastgshare.profiler.core.facts import Claimed, Fact, Measured, MeasureUnanswered, TableStored
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket, RevisionConflict, StorageUnavailable
from fastgshare.shared.bus import Bus, NoAnswer
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import PayloadInvalid
from fastgshare.shared.leases import Lease
from fastgshare.shared.messages import MeasureReply, Profile

COMMANDS_WAITING = 16  # the core has at most a table, a measurement and a release outstanding
RELEASE_TIMEOUT_S = 1.0
MS_PER_S = 1_000

ClaimCommand = StoreTable | Measure | Release

logger = logging.getLogger(__name__)


class ClaimSession:
    """What one claim needs to be carried out. `learn` is told of everything but its end."""

    def __init__(self, bus: Bus, claim: Claim, holder: str, learn: Callable[[Fact], None]) -> None:
        self._bus = bus
        self._key = claim.key
        self._learn = learn
        self._leases = [
            Lease(bus, subjects.profile_lease(claim.key), holder),
            Lease(bus, subjects.device_lease(claim.device), holder),
        ]
        self._tables = Bucket(bus, subjects.PROFILES, Profile)
        self._revision: int | None = 0
        self._inbox, self._commands = anyio.create_memory_object_stream[ClaimCommand](COMMANDS_WAITING)
        self._measuring = anyio.CancelScope()
        self._released = False
        self._ended = False

    def submit(self, command: ClaimCommand) -> None:
        """Carry out `command` after those before it; a release ends a measurement under way.

        Once the claim has ended nothing is carried out any more: its end is about to be told.
        """
        if self._ended:
            return
        self._inbox.send_nowait(command)
        if isinstance(command, Release):
            self._released = True
            self._measuring.cancel()

    async def run(self) -> None:
        """Claim, and serve commands until the claim ends; returns at once when somebody else has it."""
        try:
            if await self._acquire():
                await self._serve()
        except (StorageUnavailable, RevisionConflict) as error:
            logger.info("claim on %s ended: %s", self._key, error)
        finally:
            self._ended = True
            self._inbox.close()
            self._commands.close()
            await self._give_back()

    async def _acquire(self) -> bool:
        for lease in self._leases:
            if not await lease.acquire():
                return False
        return True

    async def _give_back(self) -> None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(RELEASE_TIMEOUT_S):
            for lease in self._leases:
                try:
                    await lease.release()
                except StorageUnavailable as error:
                    logger.info("lease %s is left to expire: %s", lease.key, error)

    async def _serve(self) -> None:
        table = await self._read()
        failures: list[StorageUnavailable | RevisionConflict] = []
        async with anyio.create_task_group() as work:
            for lease in self._leases:
                work.start_soon(self._hold, lease, work.cancel_scope)
            self._learn(Claimed(self._key, table))
            try:
                await self._carry_out()
            except (StorageUnavailable, RevisionConflict) as error:
                failures.append(error)  # raised below, bare: a task group would wrap it
            work.cancel_scope.cancel()
        if failures:
            raise failures[0]

    async def _read(self) -> Profile | None:
        try:
            found = await self._tables.get(self._key)
        except PayloadInvalid as error:
            logger.warning("table %s cannot be read and will be replaced: %s", self._key, error)
            self._revision = None
            return None
        table, self._revision = found or (None, 0)
        return table

    async def _hold(self, lease: Lease, claim: anyio.CancelScope) -> None:
        await lease.hold()
        logger.warning("lease %s was lost", lease.key)
        claim.cancel()

    async def _carry_out(self) -> None:
        async for command in self._commands:
            if isinstance(command, Release):
                return
            if isinstance(command, StoreTable):
                await self._store(command)
            elif not self._released:
                await self._measure(command)

    async def _store(self, command: StoreTable) -> None:
        if self._revision is None:
            self._revision = await self._tables.put(self._key, command.table)
        else:
            self._revision = await self._tables.replace(self._key, command.table, self._revision)
        self._learn(TableStored(self._key, command.table))

    async def _measure(self, command: Measure) -> None:
        fact: Fact = MeasureUnanswered(self._key, command.ticket, "the bus was away meanwhile", hung=False)
        with self._bus.until_reconnected() as self._measuring:
            fact = await self._ask_worker(command)
        if not self._released:
            self._learn(fact)

    async def _ask_worker(self, command: Measure) -> Fact:
        subject = subjects.measure(command.replica)
        try:
            answer = await self._bus.request(subject, encode(command.request), command.timeout_ms / MS_PER_S)
            return Measured(self._key, command.ticket, decode(MeasureReply, answer.data))
        except NoAnswer as error:
            hung = error.fields["reason"] == "timeout"
            reason = "the worker did not answer in time" if hung else str(error.fields["reason"])
            return MeasureUnanswered(self._key, command.ticket, reason, hung)
        except PayloadInvalid as error:
            return MeasureUnanswered(self._key, command.ticket, str(error), hung=True)
